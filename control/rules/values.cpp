#include "values.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "suggest.hpp"

namespace chaos::rules {

namespace {

struct unit {
  const char* name;
  std::uint64_t factor;
};
constexpr unit duration_units[] = {{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000},
                                   {"min", 60'000'000'000}, {"h", 3'600'000'000'000}, {"d", 86'400'000'000'000}};
constexpr unit size_units[] = {{"B", 1}, {"KB", 1'000}, {"KiB", 1'024}, {"MB", 1'000'000}, {"MiB", 1'048'576},
                               {"GB", 1'000'000'000}, {"GiB", 1'073'741'824}, {"TB", 1'000'000'000'000},
                               {"TiB", 1'099'511'627'776}};
constexpr std::uint64_t year_ns = 365 * 86'400'000'000'000ULL;
constexpr std::uint64_t size_max = std::uint64_t{1} << 62;

std::string quoted(std::string_view text) { return "'" + std::string(text.substr(0, 200)) + "'"; }

// The digits at the front, as "1" or "1.5"; what follows is the unit.
std::string_view number_part(std::string_view text) {
  std::size_t n = 0;
  while (n < text.size() && ((text[n] >= '0' && text[n] <= '9') || text[n] == '.')) ++n;
  return text.substr(0, n);
}

bool read_number(std::string_view text, long double& value) {
  if (text.empty() || text.size() > 30 || text.front() == '.' || text.back() == '.' ||
      std::count(text.begin(), text.end(), '.') > 1)
    return false;
  value = std::strtold(std::string(text).c_str(), nullptr);
  return std::isfinite(value);
}

bool read_digits(std::string_view text, std::uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

struct measure {  // what a number with a unit is, and how to say it
  const char* noun;
  const unit* units;
  std::size_t count;
  std::uint64_t most;
  std::vector<std::string> examples;
};

std::string unit_list(const measure& m) {
  std::string all;
  for (std::size_t i = 0; i < m.count; ++i) all += (i ? ", " : "") + std::string(m.units[i].name);
  return all;
}

std::string format_measured(std::uint64_t value, const unit* units, std::size_t count);

// What others write for one number and one unit, as one: 1e3ms, 1,5s, 2h30m, 2h30 (then of the next smaller unit). Empty: none of these.
std::string as_one(std::string_view text, const measure& m) {
  std::string plain(text);
  std::replace(plain.begin(), plain.end(), ',', '.');
  long double sum = 0;
  std::size_t last = m.count;  // the place of the unit before: they go down
  for (const char* at = plain.c_str(); *at;) {
    if (!(*at >= '0' && *at <= '9')) return "";
    char* end = nullptr;
    const long double value = std::strtold(at, &end);
    const std::string name(end, std::find_if(end, end + std::strlen(end), [](char c) { return (c >= '0' && c <= '9') || c == '.'; }));
    at = end + name.size();
    std::size_t which = m.count;
    for (std::size_t i = 0; i < m.count; ++i)
      if (name == m.units[i].name || (name == "m" && std::string_view(m.units[i].name) == "min")) which = i;
    if (name.empty() && !*at && last > 0 && last < m.count) which = last - 1;
    if (which >= last) return "";
    last = which;
    sum += value * static_cast<long double>(m.units[which].factor);
  }
  return sum > 0 && sum <= static_cast<long double>(m.most) ? format_measured(static_cast<std::uint64_t>(sum + 0.0001L), m.units, m.count) : "";
}

result<std::uint64_t> parse_measured(std::string_view what, std::string_view text, const measure& m) {
  if (text == "0") return std::uint64_t{0};
  const std::string_view number = number_part(text);
  const std::string_view name = text.substr(number.size());
  const std::string like = std::string(" (such as ") + m.examples[0] + ")";
  if (text.empty()) return bad_value(what, text, std::string("a ") + m.noun + " is missing" + like, m.examples);
  if (text.front() == '-') return bad_value(what, text, quoted(text) + " is negative; a " + m.noun + " is not", m.examples);
  long double value = 0;
  if (!read_number(number, value)) return bad_value(what, text, quoted(text) + " is not a " + m.noun + like, m.examples);
  if (name.empty()) {
    std::vector<std::string> expected;
    for (std::size_t i = 0; i < m.count; ++i) expected.push_back(std::string(number) + m.units[i].name);
    return bad_value(what, text, quoted(text) + " has no unit; units are " + unit_list(m), expected);
  }
  for (std::size_t i = 0; i < m.count; ++i) {
    if (name != m.units[i].name) continue;
    const long double scaled = value * static_cast<long double>(m.units[i].factor);
    if (scaled > static_cast<long double>(m.most))
      return bad_value(what, text, quoted(text) + " is too much for a " + m.noun, m.examples);
    return static_cast<std::uint64_t>(scaled + 0.0001L);
  }
  std::vector<std::string> names, meant;
  for (std::size_t i = 0; i < m.count; ++i) names.emplace_back(m.units[i].name);
  const auto small = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  if (const std::string one = as_one(text, m); !one.empty() && name.find_first_of("0123456789,") != name.npos) {
    return bad_value(what, text, quoted(text) + " is not one number and one unit; did you mean '" + one + "'?", {one});
  } else if (name.size() == 1) {  // 5m, 64k
    for (const std::string& unit : names)
      if (small(unit.front()) == small(name.front())) meant.push_back(std::string(number) + unit);
  } else if (const std::string near = nearest(name, names); !near.empty()) {
    meant.push_back(std::string(number) + near);
  }
  std::string hint;
  for (const std::string& word : meant) hint += (hint.empty() ? "; did you mean '" : " or '") + word + "'";
  return bad_value(what, text, quoted(text) + " has the unknown unit " + quoted(name) + "; units are " + unit_list(m) + hint + (hint.empty() ? "" : "?"),
             meant.empty() ? m.examples : meant);
}

std::string format_measured(std::uint64_t value, const unit* units, std::size_t count) {
  if (value == 0) return "0";
  for (std::size_t i = count; i-- > 0;)
    if (value % units[i].factor == 0) return std::to_string(value / units[i].factor) + units[i].name;
  return std::to_string(value);
}

const measure duration_measure{"duration", duration_units, std::size(duration_units), year_ns, {"200ms", "1.5s", "50us"}};
const measure size_measure{"size", size_units, std::size(size_units), size_max, {"64KB", "1MiB", "100B"}};

}  // namespace

result<std::uint64_t> parse_duration(std::string_view what, std::string_view text) {
  return parse_measured(what, text, duration_measure);
}

std::string format_duration(std::uint64_t ns) {
  return format_measured(ns, duration_units, std::size(duration_units));
}

result<std::uint64_t> parse_size(std::string_view what, std::string_view text) {
  return parse_measured(what, text, size_measure);
}

std::string format_size(std::uint64_t bytes) { return format_measured(bytes, size_units, std::size(size_units)); }

result<std::uint64_t> parse_rate(std::string_view what, std::string_view text) {
  const std::string_view head = text.substr(0, text.find('/'));
  if (head.size() > 3 && head.ends_with("bit"))
    return bad_value(what, text, quoted(text) + " counts bits; a rate is in bytes a second, eight bits each, such as 100KB/s", {"100KB/s", "1MiB/s"});
  if (text.size() < 3 || text.substr(text.size() - 2) != "/s") {
    problem p = bad_value(what, text, quoted(text) + " is not a rate: a size and '/s' are expected, such as 100KB/s", {"100KB/s", "1MiB/s"});
    if (parse_size("", text)) p.message += "; did you mean '" + std::string(text) + "/s'?";
    return p;
  }
  result<std::uint64_t> size = parse_size(what, text.substr(0, text.size() - 2));
  if (size && *size == 0) return bad_value(what, text, "a rate of 0 lets nothing pass: use the kind `down` for that", {"1KB/s"});
  return size;
}

result<abi::probability> parse_probability(std::string_view what, std::string_view text) {
  const std::vector<std::string> examples{"0.1", "10%"};
  const bool percent = !text.empty() && text.back() == '%';
  const std::string_view number = percent ? text.substr(0, text.size() - 1) : text;
  long double value = 0;
  if (!number.empty() && number.front() == '-')
    return bad_value(what, text, quoted(text) + " is negative; a probability lies in 0..1 or 0%..100%", examples);
  if (number_part(number) != number || !read_number(number, value))
    return bad_value(what, text, quoted(text) + " is not a probability (such as 0.1 or 10%)", examples);
  if (percent) value /= 100;
  if (value > 1) {
    std::vector<std::string> expected = examples;
    if (!percent && value <= 100) expected.insert(expected.begin(), std::string(number) + "%");
    return bad_value(what, text, quoted(text) + " lies outside 0..1 (or 0%..100%)" +
                               (expected.size() > 2 ? "; did you mean " + expected[0] + "?" : ""), expected);
  }
  const auto p = static_cast<abi::probability>(std::llroundl(value * static_cast<long double>(abi::certain)));
  return value > 0 && p == 0 ? abi::probability{1} : p;
}

std::string format_probability(abi::probability p) {
  char text[40];
  for (int digits = 1; digits <= 10; ++digits) {  // the fewest that mean the same
    std::snprintf(text, sizeof text, "%.*Lg", digits, static_cast<long double>(p) / static_cast<long double>(abi::certain));
    if (const auto again = parse_probability("", text); again && *again == p) break;
  }
  return text;
}

result<std::uint64_t> parse_count(std::string_view what, std::string_view text) {
  std::uint64_t value = 0;
  if (!read_digits(text, value) || value == 0)
    return bad_value(what, text, quoted(text) + " is not a count: a whole number from 1 is expected", {"1", "10"});
  return value;
}

result<std::uint64_t> parse_seed(std::string_view what, std::string_view text) {
  std::uint64_t value = 0;
  if (!read_digits(text, value))
    return bad_value(what, text, quoted(text) + " is not a seed: a whole number from 0 to 18446744073709551615 is expected", {"42"});
  return value;
}

result<std::uint32_t> parse_pid(std::string_view what, std::string_view text) {
  std::uint64_t value = 0;
  if (!read_digits(text, value) || value == 0 || value > 4'194'304)
    return bad_value(what, text, quoted(text) + " is not a process id: a number in 1..4194304 is expected", {});
  return static_cast<std::uint32_t>(value);
}

result<duration_range> parse_duration_range(std::string_view what, std::string_view text) {
  const auto dots = text.find("..");
  const auto least = parse_duration(what, text.substr(0, dots));
  if (!least) return least.error();
  const auto most = dots == text.npos ? least : parse_duration(what, text.substr(dots + 2));
  if (!most) return most.error();
  if (*least > *most) return bad_value(what, text, quoted(text) + " ends before it begins", {"100ms..1s"});
  return duration_range{*least, *most};
}

result<size_range> parse_size_range(std::string_view what, std::string_view text) {
  const std::vector<std::string> examples{"4KiB..1MiB", "64KB..", "..1KB"};
  const auto dots = text.find("..");
  if (text.empty() || text == "..")
    return bad_value(what, text, quoted(text) + " is not a range of sizes (such as 4KiB..1MiB)", examples);
  size_range range;
  const std::string_view low = text.substr(0, dots);
  const std::string_view high = dots == std::string_view::npos ? low : text.substr(dots + 2);
  if (!low.empty()) {
    const auto size = parse_size(what, low);
    if (!size) return size.error();
    range.low = *size;
  }
  if (!high.empty()) {
    const auto size = parse_size(what, high);
    if (!size) return size.error();
    range.high = *size;
  }
  if (range.low > range.high)
    return bad_value(what, text, quoted(text) + " ends before it begins",
               {std::string(high) + ".." + std::string(low)});
  return range;
}

result<abi::when_clause> parse_when(std::string_view what, std::string_view text) {
  const std::vector<std::string> examples{"3", "3+", "3+2", "3..7", "3..7+2", "XOOX"};
  const auto wrong = [&](const std::string& why) { return bad_value(what, text, quoted(text) + " " + why, examples); };
  abi::when_clause when{};
  if (text.empty()) return wrong("is empty: expected 3, 3+, 3+2, 3..7, 3..7+2 or a pattern such as XOOX");
  if (text.find_first_not_of("XO") == std::string_view::npos) {
    if (text.size() > 64) return wrong("is longer than the 64 that a pattern may have");
    if (text.find('X') == std::string_view::npos) return wrong("never injects: a pattern needs an X");
    when.pattern_length = static_cast<std::uint32_t>(text.size());
    for (std::size_t i = 0; i < text.size(); ++i)
      if (text[i] == 'X') when.pattern |= std::uint64_t{1} << i;
    return when;
  }
  const auto read = [](std::string_view digits, std::uint32_t& value) {
    std::uint64_t wide = 0;
    if (!read_digits(digits, wide) || wide == 0 || wide > UINT32_MAX) return false;
    value = static_cast<std::uint32_t>(wide);
    return true;
  };
  std::string_view head = text, step;
  const auto plus = text.find('+');
  const bool stepped = plus != std::string_view::npos;
  if (stepped) {
    head = text.substr(0, plus);
    step = text.substr(plus + 1);
  }
  const auto dots = head.find("..");
  const bool ranged = dots != std::string_view::npos;
  if (!read(head.substr(0, dots), when.first) || (ranged && !read(head.substr(dots + 2), when.last)) ||
      (!step.empty() && !read(step, when.step)) || (ranged && stepped && step.empty()))
    return wrong("can not be read: expected 3, 3+, 3+2, 3..7, 3..7+2 or a pattern such as XOOX, counted from 1");
  if (ranged && when.last < when.first) return wrong("ends before it begins");
  if (when.step == 0 && (stepped || ranged)) when.step = 1;
  return when;
}

result<done> check_glob(std::string_view what, std::string_view text) {
  if (text.empty()) return bad_value(what, text, "a pattern is missing; * stands for any text", {});
  if (text.size() > 250) return bad_value(what, text, "the pattern is longer than 250 bytes", {});
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 32 || c == 127) return bad_value(what, text, "the pattern has a control character in it", {});
  return done{};
}

result<done> check_name(std::string_view what, std::string_view text) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  if (text.empty() || text.size() > 40 || !std::all_of(text.begin(), text.end(), good) || text.front() == '-')
    return bad_value(what, text, quoted(text) + " can not be a name: letters, digits, '.', '_' and '-', not beginning with '-', at most 40",
               {"slow-redis"});
  if (text.find_first_not_of("0123456789") == std::string_view::npos)
    return bad_value(what, text, quoted(text) + " can not be a name: it would look like an id", {"rule-" + std::string(text)});
  return done{};
}

result<unsigned> parse_choice(std::string_view what, std::string_view text, const std::vector<std::string>& choices) {
  for (unsigned i = 0; i < choices.size(); ++i)
    if (text == choices[i]) return i;
  problem p = unknown_word(problem_code::bad_value, "value", text, choices);
  p.message = std::string(what) + ": " + p.message;
  return p;
}

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  for (;;) {
    const auto end = text.find(at);
    parts.emplace_back(trimmed(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

}  // namespace chaos::rules
