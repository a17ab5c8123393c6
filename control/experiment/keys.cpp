#include "keys.hpp"

#include <algorithm>

#include "control/rules/values.hpp"

namespace chaos::experiment {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr key_info key_table[] = {
#define KEY(section, kinds, name, otherwise, meaning) {#section, kinds, #name, otherwise, meaning},
#include "keys.def"
#undef KEY
};

}  // namespace

bool key_info::of_kind(std::string_view kind) const {
  if (!*kinds) return true;
  const auto all = rules::split(kinds, ' ');
  return std::ranges::find(all, kind) != all.end();
}

std::span<const key_info> all_keys() { return key_table; }

std::vector<std::string> key_names(std::string_view section, std::string_view kind) {
  std::vector<std::string> names;
  for (const auto& k : key_table)
    if (k.section == section && k.of_kind(kind)) names.emplace_back(k.name);
  return names;
}

int section::line_of(const std::string& key) const {
  const auto found = lines.find(key);
  return found == lines.end() ? line : found->second;
}

std::string section::value_of(std::string_view key) const {
  const auto found = std::ranges::find(keys, key, [](const auto& k) { return std::string_view(k.first); });
  return found == keys.end() ? "" : found->second;
}

bool section::has(std::string_view key) const {
  return std::ranges::any_of(keys, [&](const auto& k) { return k.first == key; });
}

std::string section::type() const { return title.substr(0, title.find(' ')); }

std::string section::name() const {
  const auto blank = title.find(' ');
  return blank == std::string::npos ? "" : std::string(rules::trimmed(std::string_view(title).substr(blank)));
}

section_reader& section_reader::on(std::string name, value_reader reader) {
  readers_[std::move(name)] = std::move(reader);
  return *this;
}

result<done> section_reader::read() {
  const std::string type = section_.type(), where = "[" + section_.title + "]";
  const auto known = key_names(type, kind_);
  for (const auto& [key, value] : section_.keys) {
    if (std::ranges::find(known, key) == known.end()) {
      const std::string of = kind_.empty() ? where : std::string("a ") + type + " of the kind " + kind_;
      return on_line(section_.line_of(key), rules::unknown_word(problem_code::unknown_option, "key of " + of, key, known));
    }
    const auto reader = readers_.find(key);
    if (reader == readers_.end()) return on_line(section_.line_of(key), {problem_code::failed, "the key '" + key + "' has no reader", key, {}});
    if (const auto good = reader->second(value); !good) return on_line(section_.line_of(key), good.error());
  }
  for (const auto& k : all_keys())
    if (k.section == type && k.of_kind(kind_) && k.needed() && section_.value_of(k.name).empty())
      return on_line(section_.line, {problem_code::missing_word, where + ": " + k.name + " is missing: " + k.meaning, k.name, {k.name}});
  return done{};
}

value_reader text_into(std::string& into, const char* what) {
  return [&into, what](const std::string& value) -> result<done> {
    if (value.empty()) return problem{problem_code::missing_word, std::string(what) + ": nothing stands behind it", what, {}};
    into = value;
    return done{};
  };
}

value_reader escaped_into(std::string& into, const char* what) {
  return [&into, what](const std::string& text) -> result<done> {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        out += text[i];
        continue;
      }
      const char c = ++i < text.size() ? text[i] : 0;
      if (c != 'r' && c != 'n' && c != 't' && c != '\\')
        return problem{problem_code::bad_value, std::string(what) + ": \\" + std::string(c ? 1 : 0, c) + " is not one of \\r \\n \\t \\\\", std::string("\\") + std::string(c ? 1 : 0, c), {"\\r", "\\n", "\\t", "\\\\"}};
      out += c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : '\\';
    }
    into = std::move(out);
    return done{};
  };
}

value_reader duration_into(nanoseconds& into, const char* what, std::uint64_t least_ns, std::uint64_t most_ns) {
  return [&into, what, least_ns, most_ns](const std::string& value) -> result<done> {
    const auto read = rules::parse_duration(what, value);
    if (!read) return read.error();
    if (*read < least_ns || *read > most_ns)
      return problem{problem_code::bad_value, std::string(what) + ": " + value + " lies outside " + rules::format_duration(least_ns) + " to " + rules::format_duration(most_ns), value,
                     {rules::format_duration(least_ns), rules::format_duration(most_ns)}};
    into = nanoseconds(*read);
    return done{};
  };
}

value_reader count_into(std::uint64_t& into, const char* what, std::uint64_t most) {
  return [&into, what, most](const std::string& text) -> result<done> {
    const auto n = rules::parse_count(what, text);
    if (!n) return n.error();
    if (*n > most) return problem{problem_code::bad_value, std::string(what) + ": " + text + " is more than " + std::to_string(most), text, {std::to_string(most)}};
    into = *n;
    return done{};
  };
}

}  // namespace chaos::experiment
