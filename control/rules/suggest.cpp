#include "suggest.hpp"

#include <algorithm>
#include <numeric>

namespace chaos::rules {

namespace {

constexpr std::size_t word_max = 64;  // longer ones are no slips
constexpr std::size_t part_min = 4;   // shorter ones stand in too many words

struct other_word {
  problem_code code;
  const char* word;
  const char* ours;
};
constexpr other_word other_words[] = {
#define OTHER_WORD(code, word, ours) {problem_code::code, #word, ours},
#include "other_words.def"
#undef OTHER_WORD
};

// Without what says nothing: case, '-' or '_', the dashes of an option.
std::string plain(std::string_view word) {
  while (!word.empty() && word.front() == '-') word.remove_prefix(1);
  std::string out(word);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c == '-' ? '_' : c;
  return out;
}

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

// The one choice of which this is true; "" when there is none, or more than one.
template <class Test>
std::string only(const std::vector<std::string>& choices, Test test) {
  std::string found;
  for (const std::string& choice : choices) {
    if (!test(plain(choice))) continue;
    if (!found.empty()) return "";
    found = choice;
  }
  return found;
}

std::string by_edits(std::string_view word, const std::vector<std::string>& choices) {
  std::string best;
  std::size_t least = (word.size() < 5 ? 1 : std::max<std::size_t>(2, word.size() / 3)) + 1;
  for (const std::string& choice : choices) {
    const std::string its = plain(choice);
    const std::size_t n = edits(word, its);
    if (n < least && n < its.size() && n < word.size()) {
      least = n;
      best = choice;
    }
  }
  return best;
}

}  // namespace

std::string nearest(std::string_view typed, const std::vector<std::string>& choices) {
  if (typed.size() > word_max) return "";
  const std::string word = plain(typed);
  if (word.size() < 2) return "";
  if (auto same = only(choices, [&](const std::string& its) { return its == word; }); !same.empty()) return same;
  if (auto begun = only(choices, [&](const std::string& its) { return its.starts_with(word); }); !begun.empty()) return begun;
  if (auto near = by_edits(word, choices); !near.empty()) return near;
  if (word.size() >= part_min)
    if (auto holds = only(choices, [&](const std::string& its) { return its.find(word) != std::string::npos; }); !holds.empty()) return holds;
  if (auto longer = only(choices, [&](const std::string& its) { return its.size() >= 2 && word.starts_with(its); }); !longer.empty()) return longer;
  return only(choices, [&](const std::string& its) { return its.size() >= part_min && word.find(its) != std::string::npos; });
}

std::string meant(problem_code code, std::string_view typed, const std::vector<std::string>& choices) {
  const std::string word = plain(typed.substr(0, word_max));
  for (const other_word& other : other_words) {
    if (other.code != code || word != other.word) continue;
    const std::string_view ours = other.ours;  // only where it may stand: not every kind takes every option
    if (std::ranges::find(choices, ours.substr(0, ours.find(' '))) != choices.end()) return std::string(ours);
  }
  return nearest(typed, choices);
}

}  // namespace chaos::rules
