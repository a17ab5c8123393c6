#include "sections.hpp"

#include <ini.h>

#include <algorithm>

#include "control/rules/values.hpp"

namespace chaos::ini {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

struct reading {
  std::vector<section> sections;
  std::vector<int> key_lines;  // of every key = value line and every indented one that goes on, in order
  std::size_t keys_read = 0, sections_seen = 0;
};

int take(void* user, const char* title, const char* key, const char* value) {
  auto& r = *static_cast<reading*>(user);
  const int line = r.key_lines[std::min(r.keys_read++, r.key_lines.size() - 1)];
  auto s = std::ranges::find(r.sections, std::string(title), &section::title);
  if (s == r.sections.end()) return 0;
  const bool goes_on = line < 0;
  if (goes_on && !s->entries.empty() && s->entries.back().key == key) s->entries.back().value += std::string(" ") + value;
  else s->entries.push_back({key, value, goes_on ? -line : line});
  return 1;
}

result<done> read_title(std::string_view words, int line, reading& r) {
  const auto close = words.find(']');
  if (close == words.npos) return problem{problem_code::bad_ini, "'" + std::string(words) + "' has no ]", std::string(words), {}};
  auto rest = rules::trimmed(words.substr(close + 1));
  if (!rest.empty() && rest.front() != ';' && rest.front() != '#')
    return problem{problem_code::unexpected_word, "'" + std::string(rest) + "' stands behind the section's title", std::string(rest), {}};
  const auto title = rules::trimmed(words.substr(1, close - 1));
  const auto blank = title.find(' ');
  section s{std::string(title.substr(0, blank)), blank == title.npos ? "" : std::string(rules::trimmed(title.substr(blank))), line, {}};
  if (s.title() != std::string(words.substr(1, close - 1)))
    return problem{problem_code::bad_ini, "blanks in [" + std::string(words.substr(1, close - 1)) + "]: [" + s.title() + "] is expected", std::string(title), {s.title()}};
  if (const auto twice = std::ranges::find(r.sections, s.title(), &section::title); twice != r.sections.end())
    return problem{problem_code::bad_ini, "there is a second section [" + s.title() + "]; the first is on line " + std::to_string(twice->line), s.title(), {}};
  r.sections.push_back(std::move(s));
  return done{};
}

}  // namespace

result<std::vector<section>> read_sections(std::string_view text, const environment& variables) {
  reading r;
  std::string filled;
  bool inside_value = false;
  const auto good = for_each_row(text, variables, [&](int line, std::string& row) -> result<done> {
    const auto words = rules::trimmed(row);
    if (!words.empty() && words.front() == '[') {
      if (const auto title = read_title(words, line, r); !title) return title;
      inside_value = false;
    } else if (!words.empty()) {
      if (r.sections.empty()) return problem{problem_code::unknown_section, "'" + std::string(words) + "' stands before any [section]", std::string(words), {}};
      const bool goes_on = (row.front() == ' ' || row.front() == '\t') && inside_value;
      if (!goes_on && words.find_first_of("=:") == words.npos)
        return problem{problem_code::bad_ini, "'" + std::string(words) + "' is neither [section] nor key = value", std::string(words), {"key = value"}};
      r.key_lines.push_back(goes_on ? -line : line);
      inside_value = true;
    }
    filled += row + '\n';
    return done{};
  });
  if (!good) return good.error();
  const int outcome = ini_parse_string(filled.c_str(), take, &r);
  if (outcome != 0) return on_line(std::max(outcome, 1), {problem_code::bad_ini, "this is neither [section] nor key = value", "", {}});
  return std::move(r.sections);
}

keys& keys::on(const std::string& name, const reader& read) { return take(name, read, false), *this; }
keys& keys::on_each(const std::string& name, const reader& read) { return take(name, read, true), *this; }

void keys::take(const std::string& name, const reader& read, bool several) {
  known_.push_back(name);
  int before = 0;
  for (const auto& e : section_.entries) {
    if (e.key != name || problem_) continue;
    if (before && !several) {
      problem_ = on_line(e.line, {problem_code::bad_ini, "the key '" + name + "' stands twice in [" + section_.title() + "]; the first is on line " + std::to_string(before), name, {}});
      return;
    }
    before = e.line;
    if (e.value.empty()) problem_ = on_line(e.line, {problem_code::missing_word, name + ": nothing stands behind it", name, {}});
    else if (const auto good = read(e.value); !good) problem_ = on_line(e.line, good.error());
  }
}

result<done> keys::end() {
  for (const auto& e : section_.entries)
    if (std::ranges::find(known_, e.key) == known_.end())
      return on_line(e.line, rules::unknown_word(problem_code::unknown_option, "key of [" + section_.title() + "]", e.key, known_));
  if (problem_) return *problem_;
  return done{};
}

}  // namespace chaos::ini
