// The lines of an experiment file: which section they belong to, on which line each key stands. Lines of [expect …] and
// [abort], which are no key = value, are taken out; inih reads the rest.
#pragma once
#include "keys.hpp"

namespace chaos::experiment {

struct free_line {
  std::string section;  // "expect during", "expect", "abort"
  std::string text;
  int line;
};

struct scanned {
  std::vector<section> sections;
  std::vector<free_line> lines;
  std::vector<std::string> rows;  // every line, expanded
  section* find(std::string_view title);
  const section* find(std::string_view title) const { return const_cast<scanned*>(this)->find(title); }
};

rules::result<scanned> scan(std::string_view text, const environment& variables);

// Where the problem of a section stands: the line that holds its word, in the section that its message names.
rules::problem placed(rules::problem p, const scanned& all);

}  // namespace chaos::experiment
