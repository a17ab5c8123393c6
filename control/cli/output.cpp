#include "output.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "help.hpp"

namespace chaos::cli {

namespace {

bool colourful(int fd) {
  const char* const no = std::getenv("NO_COLOR");
  const char* const term = std::getenv("TERM");
  return isatty(fd) && !(no && *no) && term && std::strcmp(term, "dumb") != 0;
}

std::string decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
  std::string s = text;
  if (s.find('.') != std::string::npos) {
    while (s.back() == '0') s.pop_back();
    if (s.back() == '.') s.pop_back();
  }
  return s;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      if (fd == 1 && errno != EPIPE) std::fprintf(stderr, "chaos-ctl: can not write: %s\n", std::strerror(errno));
      if (fd == 1) _exit(exits::failed);
      return;
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

// The line with `length` columns of it underlined, from `at` on.
std::string marked(const std::string& line, std::size_t at, std::size_t length) {
  for (const unsigned char c : line)
    if (c < ' ') return {};
  if (line.size() > 400) return {};
  return "  " + line + "\n  " + std::string(at, ' ') + paint(ink::red, '^' + std::string(length > 0 ? length - 1 : 0, '~'), 2) + "\n";
}

// What was typed, or the line of the file, with the wrong word underlined; empty when the word does not stand there as it is.
std::string underlined(const rules::problem& p, const invocation& from) {
  if (p.word.empty()) return {};
  if (p.line) {
    const auto found = p.line->find(p.word);
    return found == std::string::npos ? std::string() : marked(*p.line, width(p.line->substr(0, found)), width(p.word));
  }
  std::string line = "chaos-ctl";
  std::size_t at = std::string::npos, length = 0;
  const auto whole = [&](const std::string& word) { return word == p.word || word.ends_with("=" + p.word); };
  const bool alone = std::ranges::any_of(from.typed, whole);  // else it stands inside another
  for (const auto& word : from.typed) {
    line += ' ';
    const std::size_t inside = !alone ? word.find(p.word) : whole(word) ? word.size() - p.word.size() : std::string::npos;
    if (at == std::string::npos && inside != std::string::npos) at = width(line) + width(word.substr(0, inside)), length = width(p.word);
    line += word;
  }
  return at == std::string::npos ? std::string() : marked(line, at, length);
}

}  // namespace

std::size_t width(std::string_view text) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      while (i < text.size() && text[i] != 'm') ++i;
      continue;
    }
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) ++n;
  }
  return n;
}

std::string paint(ink colour, std::string_view text, int fd) {
  if (colour == ink::plain || !colourful(fd)) return std::string(text);
  static constexpr const char* codes[] = {"0", "1", "2", "31", "33", "32", "36"};
  return std::string("\x1b[") + codes[static_cast<int>(colour)] + "m" + std::string(text) + "\x1b[0m";
}

std::string human_ns(std::uint64_t ns) {
  if (ns < 1'000) return std::to_string(ns) + " ns";
  if (ns < 1'000'000) return decimal(static_cast<double>(ns) / 1e3) + " µs";
  if (ns < 1'000'000'000) return decimal(static_cast<double>(ns) / 1e6) + " ms";
  if (ns < 60'000'000'000) return decimal(static_cast<double>(ns) / 1e9) + " s";
  const std::uint64_t s = ns / 1'000'000'000;
  const auto two = [](std::uint64_t big, const char* unit, std::uint64_t small, const char* small_unit) {
    return std::to_string(big) + ' ' + unit + (small ? ' ' + std::to_string(small) + ' ' + small_unit : "");
  };
  if (s < 3600) return two(s / 60, "min", s % 60, "s");
  if (s < 86400) return two(s / 3600, "h", s % 3600 / 60, "min");
  return two(s / 86400, "d", s % 86400 / 3600, "h");
}

std::string human_bytes(std::uint64_t n) {
  constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(n);
  unsigned unit = 0;
  while (value >= 1000 && unit + 1 < std::size(units)) value /= 1000, ++unit;
  return decimal(value) + ' ' + units[unit];
}

std::string human_count(std::uint64_t n) {
  const std::string digits = std::to_string(n);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

table::table(std::vector<std::string> headings) : headings_(std::move(headings)) {}

void table::row(std::vector<std::string> cells) {
  cells.resize(headings_.size());
  rows_.push_back(std::move(cells));
}

std::string table::text() const {
  std::vector<std::size_t> widths;
  std::vector<bool> right;
  std::vector<std::string> headings;
  for (const auto& h : headings_) {
    right.push_back(h.starts_with(">"));
    headings.push_back(right.back() ? h.substr(1) : h);
    widths.push_back(width(headings.back()));
  }
  for (const auto& r : rows_)
    for (std::size_t i = 0; i < r.size(); ++i) widths[i] = std::max(widths[i], width(r[i]));
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string s;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string pad(widths[i] - width(cells[i]), ' ');
      s += right[i] ? pad + cells[i] : cells[i] + pad;
      if (i + 1 < cells.size()) s += "  ";
    }
    while (!s.empty() && s.back() == ' ') s.pop_back();
    return s;
  };
  std::string out = paint(ink::bold, line(headings)) + '\n';
  for (const auto& r : rows_) out += line(r) + '\n';
  return out;
}

void print(std::string_view text) { write_all(1, text); }

void print_json(const json& document) { print(document.dump(-1, ' ', false, json::error_handler_t::replace) + '\n'); }

void note(std::string_view sentence) { write_all(2, std::string(sentence) + '\n'); }

void warn(std::string_view sentence) { write_all(2, "chaos-ctl: " + paint(ink::yellow, "warning", 2) + ": " + std::string(sentence) + '\n'); }

int report(const rules::problem& p, const invocation& from) {
  const int status = rules::problem_table[static_cast<unsigned>(p.code)].exit_status;
  if (from.json) {
    print_json({{"error", {{"code", rules::name_of(p.code)}, {"message", p.message}, {"word", p.word}, {"expected", p.expected}}}});
    return status;
  }
  std::string text = "chaos-ctl" + (from.command ? std::string(" ") + from.command->name : std::string()) + ": " + p.message + '\n';
  text += underlined(p, from);
  // a list that the sentence does not hold already, and that a suggestion does not make needless
  constexpr std::size_t list_max = 80;  // a longer one is a reference, and the sentence names where that is
  const auto said = [&](const std::string& word) { return p.message.find(word) != std::string::npos && p.word.find(word) == std::string::npos; };
  if (p.expected.size() <= list_max && !std::ranges::all_of(p.expected, said) && p.message.find("did you mean") == std::string::npos) {
    std::string expected;
    for (const std::string& word : p.expected) expected += (expected.empty() ? "" : ", ") + word;
    text += "  expected: " + wrapped(expected, 12) + '\n';
  }
  write_all(2, text);
  return status;
}

std::uint64_t number(const json& object, const char* key, std::uint64_t otherwise) {
  if (!object.is_object()) return otherwise;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return otherwise;
  if (found->is_number_unsigned()) return found->get<std::uint64_t>();
  const double value = found->get<double>();
  return value > 0 && value < 1.8e19 ? static_cast<std::uint64_t>(value) : otherwise;
}

std::string text_of(const json& object, const char* key, const std::string& otherwise) {
  if (!object.is_object()) return otherwise;
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  if (found->is_string()) return found->get<std::string>();
  return found->is_null() ? otherwise : found->dump();
}

bool flag_of(const json& object, const char* key) {
  if (!object.is_object()) return false;
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

const json& array_of(const json& object, const char* key) {
  static const json none = json::array();
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : none;
}

}  // namespace chaos::cli
