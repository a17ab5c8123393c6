// Readable and stable names for the cases of a parameterised test: their number, and the letters and digits of what they
// are given ("04_1e3ms"). gtest would print structures as bytes and strings with their addresses.
//
//   INSTANTIATE_TEST_SUITE_P(All, BadDuration, testing::Values("", "ms"), chaos::testing_support::parameter_name);
//
// A parameter is text, a list of words, or a structure with a member `text`, `given` or `typed` that is one of them.
#pragma once
#include <gtest/gtest.h>

#include <cctype>
#include <cstdio>
#include <string>
#include <string_view>
#include <type_traits>

namespace chaos::testing_support {

template <class T>
std::string text_of_parameter(const T& p) {
  if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return std::string(std::string_view(p));
  } else if constexpr (requires { p.text; }) {
    return text_of_parameter(p.text);
  } else if constexpr (requires { p.given; }) {
    return text_of_parameter(p.given);
  } else if constexpr (requires { p.typed; }) {
    return text_of_parameter(p.typed);
  } else {
    std::string all;
    for (const auto& word : p) all += (all.empty() ? "" : " ") + text_of_parameter(word);
    return all;
  }
}

inline constexpr auto parameter_name = [](const auto& info) {
  constexpr std::size_t longest = 60;
  char number[24];
  std::snprintf(number, sizeof number, "%02zu", static_cast<std::size_t>(info.index));
  std::string name;
  for (const char c : text_of_parameter(info.param)) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) && static_cast<unsigned char>(c) < 128;
    if (plain) name += c;
    else if (!name.empty() && name.back() != '_') name += '_';
    if (name.size() == longest) break;
  }
  while (!name.empty() && name.back() == '_') name.pop_back();
  return number + (name.empty() ? std::string() : '_' + name);
};

}  // namespace chaos::testing_support
