#include "scan.hpp"

#include <ini.h>

#include <algorithm>

#include "control/rules/suggest.hpp"
#include "control/rules/values.hpp"

namespace chaos::experiment {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

std::string_view without_comment(std::string_view row) {
  for (std::size_t i = 1; i < row.size(); ++i)
    if (row[i] == ';' && (row[i - 1] == ' ' || row[i - 1] == '\t')) return row.substr(0, i);
  return row;
}

constexpr const char* named_sections[] = {"probe", "load", "fault", "stress", "process"};
const std::vector<std::string> section_forms{"experiment",      "probe NAME",    "load NAME",    "fault NAME", "stress NAME", "process NAME",
                                             "expect baseline", "expect during", "expect after", "expect",     "abort"};

bool has_free_lines(const std::string& title) { return title == "abort" || title == "expect" || title.starts_with("expect "); }

result<done> check_title(const std::string& title) {
  if (std::ranges::find(section_forms, title) != section_forms.end() && title.find("NAME") == title.npos) return done{};
  section s;
  s.title = title;
  const std::string kind = s.type(), name = s.name();
  if (kind == "expect") return rules::unknown_word(problem_code::unknown_section, "section", title, {"expect baseline", "expect during", "expect after"});
  if (std::ranges::find(named_sections, kind) != std::end(named_sections)) {
    if (name.empty()) return problem{problem_code::missing_word, "[" + title + "]: a name is missing: [" + kind + " NAME]", title, {kind + " NAME"}};
    return rules::check_name("[" + title + "]", name);
  }
  auto p = rules::unknown_word(problem_code::unknown_section, "section", title, section_forms);
  std::vector<std::string> kinds{"experiment", "expect", "abort"};
  kinds.insert(kinds.end(), std::begin(named_sections), std::end(named_sections));
  if (const auto near = rules::nearest(kind, kinds); !near.empty()) {
    const bool named = std::ranges::find(named_sections, near) != std::end(named_sections);
    p.message = "unknown section '" + title + "': did you mean [" + near + (named ? " NAME" : near == "expect" ? " during" : "") + "]?";
  }
  return p;
}

int take(void* user, const char* title, const char* key, const char* value) {
  auto* s = static_cast<scanned*>(user)->find(title);
  if (!s) return 0;
  for (auto& [known, text] : s->keys)
    if (known == key) {  // an indented line goes on; in a rule only a list does
      const bool rule = s->type() == "fault";
      if (rule && !text.ends_with(',')) return 0;
      text += (rule ? "" : " ") + std::string(value);
      return 1;
    }
  s->keys.emplace_back(key, value);
  return 1;
}

}  // namespace

section* scanned::find(std::string_view title) {
  for (auto& s : sections)
    if (s.title == title) return &s;
  return nullptr;
}

result<scanned> scan(std::string_view text, const environment& variables) {
  scanned out;
  std::string keyed;  // for inih, with the same line numbers
  const auto good = ini::for_each_row(text, variables, [&](int line, std::string& row) -> result<done> {
    out.rows.push_back(row);
    const auto words = rules::trimmed(row);
    std::string for_keys;
    if (!words.empty() && words.front() == '[') {
      const auto close = words.find(']');
      if (close == words.npos) return problem{problem_code::bad_ini, "'" + std::string(words) + "' has no ]", std::string(words), section_forms};
      if (const auto rest = rules::trimmed(without_comment(words.substr(close + 1))); !rest.empty() && rest.front() != ';' && rest.front() != '#')
        return problem{problem_code::unexpected_word, "'" + std::string(rest) + "' stands behind the section's title", std::string(rest), {}};
      const std::string title(words.substr(1, close - 1));
      if (const auto known = check_title(title); !known) return known;
      if (const auto* twice = out.find(title))
        return problem{problem_code::bad_ini, "there is a second section [" + title + "]; the first is on line " + std::to_string(twice->line), title, {}};
      out.sections.push_back({title, line, {}, {}});
    } else if (!words.empty() && out.sections.empty()) {
      return problem{problem_code::unknown_section, "'" + std::string(words) + "' stands before any section; [experiment] is expected first", std::string(words), section_forms};
    }
    if (!words.empty()) {
      section& now = out.sections.back();
      if (has_free_lines(now.title)) {
        if (words.front() != '[') out.lines.push_back({now.title, std::string(rules::trimmed(without_comment(words))), line});
      } else {
        for_keys = row;
        const bool indented = row.front() == ' ' || row.front() == '\t';
        if (words.front() != '[' && !indented) {
          const std::string key(rules::trimmed(words.substr(0, words.find_first_of("=:"))));
          if (!now.lines.emplace(key, line).second)
            return problem{problem_code::bad_ini, "the key '" + key + "' stands twice in [" + now.title + "]; the first is on line " + std::to_string(now.lines[key]), key, {}};
        }
      }
    }
    keyed += for_keys + '\n';
    return done{};
  });
  if (!good) return good.error();
  const int outcome = ini_parse_string(keyed.c_str(), take, &out);
  if (outcome != 0) {
    const std::string row = outcome > 0 && static_cast<std::size_t>(outcome) <= out.rows.size() ? std::string(rules::trimmed(out.rows[static_cast<std::size_t>(outcome) - 1])) : "";
    return on_line(outcome, {problem_code::bad_ini, "'" + row + "' is neither [section] nor key = value", row, {}});
  }
  return out;
}

problem placed(problem p, const scanned& all) {
  if (p.message.starts_with("line ")) return p;
  for (const auto& s : all.sections) {
    if (!p.message.starts_with("[" + s.title + "]")) continue;
    for (auto row = static_cast<std::size_t>(s.line); !p.word.empty() && row < all.rows.size(); ++row) {
      const auto words = rules::trimmed(all.rows[row]);
      if (!words.empty() && words.front() == '[') break;
      std::string word = p.word.starts_with("--") ? p.word.substr(2) : p.word;
      if (words.find(word) == words.npos) std::ranges::replace(word, '-', '_');
      if (words.find(word) != words.npos) return on_line(static_cast<int>(row) + 1, std::move(p));
    }
    return on_line(s.line, std::move(p));
  }
  return p;
}

}  // namespace chaos::experiment
