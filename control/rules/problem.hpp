// What was wrong, where it stood and what would have been right; and `result`, a value or such a problem. Nothing in
// the rule library throws for bad input.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace chaos::rules {

enum class problem_code {
#define PROBLEM(code, exit_status, meaning) code,
#include "problem_codes.def"
#undef PROBLEM
  count
};

struct problem_info {
  const char* name;
  int exit_status;
  const char* meaning;
};
inline constexpr problem_info problem_table[] = {
#define PROBLEM(code, exit_status, meaning) {#code, exit_status, meaning},
#include "problem_codes.def"
#undef PROBLEM
};

constexpr const char* name_of(problem_code c) { return problem_table[static_cast<unsigned>(c)].name; }

struct problem {
  problem_code code;
  std::string message;                // a whole sentence: what, where, what would be right
  std::string word;                   // the word that is wrong, as it was given
  std::vector<std::string> expected;  // what could have stood there
  std::optional<std::string> line{};  // of the file in which it stood; "": one that is not known. None: it was typed
};

template <class T>
class [[nodiscard]] result {
 public:
  result(T value) : held_(std::move(value)) {}
  result(problem p) : held_(std::move(p)) {}

  bool ok() const { return held_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& operator*() { return std::get<0>(held_); }
  const T& operator*() const { return std::get<0>(held_); }
  T* operator->() { return &std::get<0>(held_); }
  const T* operator->() const { return &std::get<0>(held_); }
  const problem& error() const { return std::get<1>(held_); }

 private:
  std::variant<T, problem> held_;
};

struct done {};  // result<done>: nothing to hand back

problem bad_value(std::string_view what, std::string_view word, const std::string& why, std::vector<std::string> expected);

// "unknown kind 'latancy': did you mean 'latency'?", with `choices` as what was expected.
problem unknown_word(problem_code code, std::string_view what, std::string_view word, std::vector<std::string> choices);

}  // namespace chaos::rules
