#include "plan.hpp"

#include <unistd.h>

#include <algorithm>

#include "control/rules/values.hpp"

namespace chaos::stress {

using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

namespace amounts {
constexpr unsigned nothing = 0, workers = 1, load = 2, size = 4;
constexpr stressor_info table[] = {
#define STRESSOR(name, takes, needs, options, amounts, example, meaning) {#name, takes, needs, options, amounts, example, meaning},
#include "stressors.def"
#undef STRESSOR
};
}  // namespace amounts

bool digits_only(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

result<unsigned> number_in(const std::string& what, std::string_view text, unsigned most) {
  const auto n = rules::parse_count(what, text);
  if (!n) return n.error();
  if (*n > most) return problem{problem_code::bad_value, what + ": '" + std::string(text) + "' is more than " + std::to_string(most), std::string(text), {std::to_string(most)}};
  return static_cast<unsigned>(*n);
}

// Puts one amount where it belongs; `form` tells which it was.
result<rules::done> read_amount(const std::string& word, plan& into, unsigned& form) {
  const std::string name = into.info().name;
  if (digits_only(word)) {
    form = amounts::workers;
    if ((into.info().takes & amounts::workers) == 0) {
      if (const auto unitless = rules::parse_size(name, word); !unitless) return unitless.error();  // it names the units
      return problem{problem_code::bad_value, name + ": " + word + " is too little", word, {into.info().example}};
    }
    const auto n = number_in(name + " workers", word, workers_max);
    if (!n) return n.error();
    into.workers = *n;
  } else if (word.ends_with('%')) {
    form = amounts::load;
    const auto n = number_in(name + " load", std::string_view(word).substr(0, word.size() - 1), 100);
    if (!n) return n.error();
    into.load_percent = *n;
  } else {
    form = amounts::size;
    const auto n = rules::parse_size(name, word);
    if (!n) return n.error();
    if (*n < size_min)
      return problem{problem_code::bad_value, name + ": " + word + " is less than " + rules::format_size(size_min), word, {rules::format_size(size_min)}};
    into.size_bytes = *n;
  }
  return rules::done{};
}

std::string filled(std::string text, const std::vector<std::pair<std::string, std::string>>& values) {
  for (const auto& [name, value] : values)
    if (const auto at = text.find(name); at != std::string::npos) text.replace(at, name.size(), value);
  return text;
}

}  // namespace

std::span<const stressor_info> all_stressors() { return amounts::table; }

std::vector<std::string> stressor_names() {
  std::vector<std::string> names;
  for (const auto& row : all_stressors()) names.emplace_back(row.name);
  return names;
}

result<plan> plan_from_words(std::span<const std::string> words) {
  if (words.empty()) return problem{problem_code::missing_word, "what is to be put under pressure is missing", "", stressor_names()};
  const auto row = std::ranges::find(all_stressors(), words[0], [](const stressor_info& s) { return std::string(s.name); });
  if (row == all_stressors().end()) return rules::unknown_word(problem_code::unexpected_word, "stressor", words[0], stressor_names());
  plan p;
  p.what = static_cast<stressor>(row - all_stressors().begin());
  if (p.what == stressor::cpu) p.workers = static_cast<unsigned>(std::clamp<long>(sysconf(_SC_NPROCESSORS_ONLN), 1, workers_max));
  unsigned seen = 0;
  for (const auto& word : words.subspan(1)) {
    unsigned form = 0;
    const auto good = read_amount(word, p, form);
    if (form == amounts::size && !good && (row->takes & form) == 0)
      return problem{problem_code::unexpected_word, std::string(row->name) + " takes " + row->amounts + ", and '" + word + "' is none of it", word, {row->example}};
    if (form != 0 && (row->takes & form) == 0 && !digits_only(word))
      return problem{problem_code::unexpected_word, std::string(row->name) + " takes no " + (form == amounts::load ? "load" : "size") + ", and '" + word + "' is one", word, {row->example}};
    if (!good) return good.error();
    if (seen & form) return problem{problem_code::unexpected_word, std::string(row->name) + ": '" + word + "' says the same thing a second time", word, {row->example}};
    seen |= form;
  }
  if ((seen & row->needs) != row->needs) return problem{problem_code::missing_word, std::string(row->name) + " needs a size, such as " + row->example, row->name, {row->example}};
  return p;
}

result<std::chrono::nanoseconds> parse_length(std::string_view what, std::string_view text) {
  const auto ns = rules::parse_duration(what, text);
  if (!ns) return ns.error();
  const std::chrono::nanoseconds length(*ns);
  if (length < std::chrono::milliseconds(100) || length > length_max)
    return problem{problem_code::bad_value, std::string(what) + ": " + std::string(text) + " lies outside 100ms to 1h", std::string(text), {"30s"}};
  return length;
}

std::string text_of(const plan& p) {
  const auto& row = p.info();
  std::string out = row.name;
  if (row.takes & amounts::size) out += " " + rules::format_size(p.size_bytes);
  if (row.takes & amounts::workers) out += " " + std::to_string(p.workers);
  if (row.takes & amounts::load) out += " " + std::to_string(p.load_percent) + "%";
  return out;
}

std::vector<std::string> command_line(const plan& p, const std::string& program, const std::string& folder, unsigned port) {
  const std::string options = filled(p.info().options, {{"{workers}", std::to_string(p.workers)}, {"{load}", std::to_string(p.load_percent)},
                                                        {"{size}", std::to_string(p.size_bytes)}, {"{port}", std::to_string(port)}});
  std::vector<std::string> argv{program};
  for (const auto& word : rules::split(options, ' ')) argv.push_back(word);
  // Its own end comes a little after ours: whichever of the two is still alive ends it.
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(p.length).count() + 1;
  for (const std::string& word : {std::string("--timeout"), std::to_string(seconds) + "s", std::string("--temp-path"), folder, std::string("--oomable"), std::string("--log-brief")})
    argv.push_back(word);
  return argv;
}

}  // namespace chaos::stress
