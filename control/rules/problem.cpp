#include "problem.hpp"

#include "suggest.hpp"

namespace chaos::rules {

problem bad_value(std::string_view what, std::string_view word, const std::string& why, std::vector<std::string> expected) {
  return {problem_code::bad_value, std::string(what) + ": " + why, std::string(word), std::move(expected)};
}

problem unknown_word(problem_code code, std::string_view what, std::string_view word, std::vector<std::string> choices) {
  std::string message = "unknown " + std::string(what) + " '" + std::string(word) + "'";
  if (const std::string near = meant(code, word, choices); !near.empty()) {
    message += ": did you mean '" + near + "'?";
  } else if (!choices.empty() && choices.size() <= 24) {
    message += ": expected one of";
    for (std::size_t i = 0; i < choices.size(); ++i) message += (i ? ", " : " ") + choices[i];
  }
  return {code, message, std::string(word), std::move(choices)};
}

}  // namespace chaos::rules
