// "Did you mean …?": the word that somebody who wrote another one had in mind. Nothing is ever taken for what was not written.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "problem.hpp"

namespace chaos::rules {

// The word of `choices` that `word` is meant to be, or "" when none is near: the same but for case, '-' and '_'; the only one
// that begins so; one within two edits, or a third of its length (one edit of a word of four letters); the only one that holds it, or is held in it.
std::string nearest(std::string_view word, const std::vector<std::string>& choices);

// The same, and before that what other tools call it (other_words.def): for the problem `code`.
std::string meant(problem_code code, std::string_view word, const std::vector<std::string>& choices);

}  // namespace chaos::rules
