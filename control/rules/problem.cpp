#include "problem.hpp"

#include <algorithm>
#include <numeric>

namespace chaos::rules {

namespace {

// Edits (insert, delete, replace, swap of neighbours) from a to b; Damerau's optimal string alignment.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  std::iota(above.begin(), above.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& choices) {
  if (word.size() > 64) return "";
  std::string best;
  std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& choice : choices) {
    const std::size_t n = edits(word, choice);
    if (n < least && n < choice.size()) {
      least = n;
      best = choice;
    }
  }
  return best;
}

problem bad_value(std::string_view what, std::string_view word, const std::string& why, std::vector<std::string> expected) {
  return {problem_code::bad_value, std::string(what) + ": " + why, std::string(word), std::move(expected)};
}

problem unknown_word(problem_code code, std::string_view what, std::string_view word, std::vector<std::string> choices) {
  std::string message = "unknown " + std::string(what) + " '" + std::string(word) + "'";
  if (const std::string near = nearest(word, choices); !near.empty()) {
    message += ": did you mean '" + near + "'?";
  } else if (choices.size() <= 24) {
    message += ": expected one of";
    for (std::size_t i = 0; i < choices.size(); ++i) message += (i ? ", " : " ") + choices[i];
  }
  return {code, message, std::string(word), std::move(choices)};
}

}  // namespace chaos::rules
