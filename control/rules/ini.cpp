// Rules as INI text, through inih. One [fault NAME] is one rule, NAME its name. inih reads lines of at most 199 bytes
// and joins an indented line to the key above it; a value may go on there only after a comma, so that a repeated key
// is still an error. Text that would be cut is refused, never shortened.
#include <ini.h>

#include <nlohmann/json.hpp>

#include "rule_spec.hpp"
#include "values.hpp"

namespace chaos::rules {

namespace {

constexpr std::size_t line_max = 199;
constexpr std::size_t section_max = 49;
constexpr std::size_t ini_text_max = 512 * 1024;

struct section {
  std::string name;
  std::vector<std::pair<std::string, std::string>> keys;
};

struct reading {
  std::vector<section> sections;
  std::string wrong, wrong_section, wrong_key;  // no key: the section stands twice
};

struct place {
  int line = 0;
  std::string_view section, key, text;  // of a title no key; of a line that goes on that of the line above it
};

// Every line with something on it, in order.
template <class F>
void each_line(std::string_view text, F&& f) {
  place at;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view row = text.substr(begin, end - begin), words = trimmed(row);
    begin = end + 1;
    ++at.line;
    if (words.empty() || words.front() == ';' || words.front() == '#') continue;
    const bool goes_on = (row.front() == ' ' || row.front() == '\t') && !at.key.empty();
    if (words.front() == '[') {
      at.section = words.substr(1, words.find(']') - 1);
      at.key = {};
    } else if (!goes_on) {
      at.key = trimmed(words.substr(0, words.find_first_of("=:")));
    }
    at.text = words;
    f(at);
  }
}

std::string on_line(int line) { return line ? "line " + std::to_string(line) + ": " : ""; }

int last_line_of(std::string_view text, const std::string& section, const std::string& key) {
  int line = 0;
  each_line(text, [&](const place& at) {
    if (at.section == section && at.key == key) line = at.line;
  });
  return line;
}

int take(void* user, const char* name, const char* key, const char* value) {
  auto& r = *static_cast<reading*>(user);
  if (r.sections.empty() || r.sections.back().name != name) {
    for (const section& s : r.sections)
      if (s.name == name && r.wrong.empty()) {
        r.wrong = "there is a second section [" + s.name + "]";
        r.wrong_section = s.name;
      }
    r.sections.push_back({name, {}});
  }
  auto& keys = r.sections.back().keys;
  for (auto& [known, text] : keys) {
    if (known != key) continue;
    if (!text.empty() && text.back() == ',') text += value;
    else if (r.wrong.empty()) {
      r.wrong = "the key '" + std::string(key) + "' stands twice in [" + name + "] (an indented line goes on only after a comma)";
      r.wrong_section = name;
      r.wrong_key = key;
    }
    return 1;
  }
  keys.emplace_back(key, value);
  return 1;
}

problem bad_ini(const std::string& message, std::string word = "", std::vector<std::string> expected = {}) {
  return {problem_code::bad_ini, message, std::move(word), std::move(expected)};
}

result<done> check_lines(std::string_view text) {
  if (text.size() > ini_text_max) return bad_ini("the text is longer than " + std::to_string(ini_text_max) + " bytes");
  int line = 1;
  for (std::size_t at = 0; at < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (end - at > line_max - 2)
      return bad_ini("line " + std::to_string(line) + " is longer than " + std::to_string(line_max - 2) +
                     " bytes: a list may go on, after a comma, on an indented line");
    if (text.substr(at, end - at).find('\0') != std::string_view::npos)
      return bad_ini("line " + std::to_string(line) + " has a NUL in it");
    at = end + 1;
  }
  return done{};
}

// A header alone gives inih nothing to report: an empty [fault x] must not vanish silently.
result<done> check_headers(std::string_view text, const reading& r) {
  int line = 1;
  for (std::size_t at = 0; at < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view row = trimmed(text.substr(at, end - at));
    at = end + 1;
    if (row.empty() || row.front() != '[') continue;
    const std::string name(row.substr(1, row.find(']') - 1));
    if (name.size() > section_max)
      return bad_ini("line " + std::to_string(line) + ": the section's title is longer than " + std::to_string(section_max) + " bytes", name);
    bool seen = false;
    for (const section& s : r.sections) seen = seen || s.name == name;
    if (!seen) return bad_ini("line " + std::to_string(line) + ": the section [" + name + "] is empty: kind and target are expected",
                              name, {"kind", "target"});
  }
  return done{};
}

problem neither(std::string_view text, int line) {
  std::string row;
  each_line(text, [&](const place& at) {
    if (at.line == line) row = at.text;
  });
  return bad_ini(on_line(line) + "'" + row.substr(0, 100) + "' is neither [section] nor key = value", row, {"[fault NAME]", "key = value"});
}

// Whose value is the wrong word, or the key that is, or in whose value it stands; else the section as a whole.
problem on_its_line(std::string_view text, const std::string& section, problem p) {
  const auto option = find_option(p.word);
  int title = 0, exact = 0, named = 0, holding = 0;
  std::string key;
  each_line(text, [&](const place& at) {
    if (at.section != section) return;
    if (!title) title = at.line;
    if (at.key.empty() || p.word.empty()) return;
    if (!named && (at.key == p.word || "--" + std::string(at.key) == p.word || (option && find_option(at.key) == option))) {
      named = at.line;
      key = at.key;
    }
    const auto value = trimmed(at.text.substr(std::min(at.text.size(), at.text.find_first_of("=:") + 1)));
    if (!exact && value == p.word) exact = at.line;
    if (!holding && value.find(p.word) != std::string_view::npos) holding = at.line;
  });
  p.message = on_line(exact ? exact : named ? named : holding ? holding : title) + p.message;
  if (named && !exact) p.word = key;  // as it stands there
  return p;
}

result<rule_spec> spec_of(const section& s) {
  constexpr std::string_view prefix = "fault ";
  const std::string where = s.name.empty() ? "the first lines" : "[" + s.name + "]";
  if (std::string_view(s.name).substr(0, prefix.size()) != prefix)
    return problem{problem_code::unknown_section,
                   where + ": " + (s.name.empty() ? "a key before any section" : "not a section of rules") +
                       "; [fault NAME] is expected", s.name, {"fault NAME"}};
  nlohmann::json object;
  for (const auto& [key, value] : s.keys) object[key] = value;
  const std::string name(trimmed(std::string_view(s.name).substr(prefix.size())));
  if (object.contains("name"))
    return problem{problem_code::unexpected_word, where + ": the section's title already is the name", "name", {}};
  if (const auto good = check_name(where, name); !good) return good.error();
  object["name"] = name;
  auto spec = spec_from_json(object);
  if (spec) return spec;
  problem p = spec.error();
  p.message = where + ": " + p.message;
  return p;
}

}  // namespace

result<std::vector<rule_spec>> specs_from_ini(std::string_view text) {
  if (const auto good = check_lines(text); !good) return good.error();
  reading r;
  const int outcome = ini_parse_string(std::string(text).c_str(), take, &r);
  if (outcome > 0)
    return neither(text, outcome);
  if (outcome < 0) return bad_ini("the text can not be read");
  if (!r.wrong.empty())
    return bad_ini(on_line(last_line_of(text, r.wrong_section, r.wrong_key)) + r.wrong, r.wrong_key.empty() ? r.wrong_section : r.wrong_key);
  if (const auto good = check_headers(text, r); !good) return good.error();
  std::vector<rule_spec> specs;
  for (const section& s : r.sections) {
    auto spec = spec_of(s);
    if (!spec) return on_its_line(text, s.name, spec.error());
    specs.push_back(std::move(*spec));
  }
  return specs;
}

problem in_fault(std::string_view text, std::string_view name, problem p) {
  std::string title;
  each_line(text, [&](const place& at) {
    if (title.empty() && at.section.starts_with("fault ") && trimmed(at.section.substr(6)) == name) title = at.section;
  });
  p.message = "[" + title + "]: " + p.message;
  return on_its_line(text, title, std::move(p));
}

namespace {

std::string row(const std::string& key, const std::string& value) {
  std::string out = key + " = ";
  if (out.size() + value.size() <= line_max - 2) return out + value + "\n";
  std::size_t used = out.size();
  const auto parts = split(value, ',');
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i && used + parts[i].size() + 1 > 150) {
      out += "\n  ";
      used = 2;
    }
    out += parts[i] + (i + 1 < parts.size() ? "," : "");
    used += parts[i].size() + 1;
  }
  return out + "\n";
}

}  // namespace

result<std::string> ini_of(std::span<const rule_spec> specs) {
  std::string text;
  for (const rule_spec& spec : specs) {
    text += (text.empty() ? "[fault " : "\n[fault ") + spec.get(option::name_) + "]\n";
    text += row("kind", abi::effect_table[static_cast<unsigned>(spec.kind)].name) + row("target", spec.target);
    if (!spec.value.empty()) text += row("value", spec.value);
    for (const auto& [o, value] : spec.options)
      if (o != option::name_) text += row(info_of(o).name, value);
  }
  const auto back = specs_from_ini(text);
  if (!back) return back.error();
  for (std::size_t i = 0; i < specs.size(); ++i)
    if (i >= back->size() || !((*back)[i] == specs[i]))
      return bad_ini("the rule '" + specs[i].get(option::name_) + "' can not be written as INI text: one of its values would be read differently");
  return text;
}

}  // namespace chaos::rules
