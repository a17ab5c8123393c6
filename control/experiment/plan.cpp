// Lines are looked at here first: it is known on which line everything stands, the lines of [expect …] (which are no
// key = value) are taken out, and [fault …] goes to the rules' own reader. inih reads the rest.
#include "plan.hpp"

#include <ini.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "control/rules/compile.hpp"
#include "control/rules/values.hpp"

namespace chaos::experiment {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr std::size_t line_max = 197;  // inih
constexpr std::size_t text_max = 512 * 1024;
constexpr std::size_t expectations_max = 200;

problem on_line(int line, problem p) {
  if (line > 0) p.message = "line " + std::to_string(line) + ": " + p.message;
  return p;
}

struct section {
  std::string title;
  int line = 0;
  std::vector<std::pair<std::string, std::string>> keys;
  std::map<std::string, int> lines;  // of keys
  int line_of(const std::string& key) const {
    const auto found = lines.find(key);
    return found == lines.end() ? line : found->second;
  }
};

struct expect_line {
  window when;
  std::string text;
  int line;
};

struct scanned {
  std::vector<section> sections;
  std::vector<expect_line> expects;
  std::vector<std::string> rows;  // every line, expanded
  std::string keyed, faults;      // texts for inih, with the same line numbers
  section* find(std::string_view title) {
    for (auto& s : sections)
      if (s.title == title) return &s;
    return nullptr;
  }
};

bool is_name(std::string_view text) {
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9') &&
         std::ranges::all_of(text, [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

result<std::string> expanded(std::string_view row, int line, const environment& variables) {
  std::string out;
  for (std::size_t at = 0; at < row.size();) {
    if (row.substr(at, 2) != "${") {
      out += row[at++];
      continue;
    }
    const auto end = row.find('}', at);
    const std::string inside(row.substr(at + 2, end == row.npos ? row.npos : end - at - 2));
    const auto minus = inside.find(":-");
    const std::string name = inside.substr(0, minus);
    if (end == row.npos || !is_name(name))
      return on_line(line, {problem_code::bad_value, "'${" + inside + "' is not ${NAME} or ${NAME:-default}", "${" + inside, {"${NAME}", "${NAME:-default}"}});
    auto value = variables(name);
    if (!value && minus == std::string::npos)
      return on_line(line, {problem_code::bad_value, "the environment variable " + name + " is not set, and ${" + name + "} has no default; ${" + name + ":-default} gives one",
                            "${" + name + "}", {"${" + name + ":-default}"}});
    if (!value || (value->empty() && minus != std::string::npos)) value = inside.substr(minus + 2);
    if (value->find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos)
      return on_line(line, {problem_code::bad_value, "the environment variable " + name + " holds a line break", "${" + name + "}", {}});
    out += *value;
    at = end + 1;
  }
  return out;
}

std::string_view without_comment(std::string_view row) {
  for (std::size_t i = 1; i < row.size(); ++i)
    if (row[i] == ';' && (row[i - 1] == ' ' || row[i - 1] == '\t')) return row.substr(0, i);
  return row;
}

const std::vector<std::string> section_forms{"experiment", "probe NAME", "fault NAME", "expect baseline", "expect during", "expect after"};

result<done> check_title(const std::string& title, int line) {
  if (title == "experiment") return done{};
  const auto blank = title.find(' ');
  const std::string kind = title.substr(0, blank), name = blank == std::string::npos ? "" : std::string(rules::trimmed(std::string_view(title).substr(blank)));
  if (kind == "expect") {
    for (const char* known : window_names)
      if (name == known) return done{};
    return on_line(line, rules::unknown_word(problem_code::unknown_section, "section", title, {"expect baseline", "expect during", "expect after"}));
  }
  if (kind == "fault" || kind == "probe") {
    if (name.empty()) return on_line(line, {problem_code::missing_word, "[" + title + "]: a name is missing: [" + kind + " NAME]", title, {kind + " NAME"}});
    if (const auto good = rules::check_name("[" + title + "]", name); !good) return on_line(line, good.error());
    return done{};
  }
  auto p = rules::unknown_word(problem_code::unknown_section, "section", title, section_forms);
  if (const auto near = rules::nearest(kind, {"experiment", "probe", "fault", "expect"}); !near.empty())
    p.message = "unknown section '" + title + "': did you mean [" + near + (near == "experiment" ? "" : near == "expect" ? " during" : " NAME") + "]?";
  return on_line(line, p);
}

result<scanned> scan(std::string_view text, const environment& variables) {
  if (text.size() > text_max) return problem{problem_code::bad_ini, "the file is longer than " + std::to_string(text_max) + " bytes", "", {}};
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  scanned out;
  int line = 1;
  for (std::size_t at = 0; at < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view raw = text.substr(at, end - at);
    at = end + 1;
    if (!raw.empty() && raw.back() == '\r') raw.remove_suffix(1);
    if (raw.find('\0') != raw.npos) return on_line(line, {problem_code::bad_ini, "there is a NUL in it", "", {}});
    const auto bare = rules::trimmed(raw);
    std::string row;
    if (!bare.empty() && bare.front() != ';' && bare.front() != '#') {
      auto filled = expanded(raw, line, variables);
      if (!filled) return filled.error();
      row = std::move(*filled);
    }
    if (row.size() > line_max) return on_line(line, {problem_code::bad_ini, "longer than " + std::to_string(line_max) + " bytes", "", {}});
    out.rows.push_back(row);
    const auto words = rules::trimmed(row);
    std::string for_keys, for_faults;
    if (!words.empty() && words.front() == '[') {
      const auto close = words.find(']');
      if (close == words.npos) return on_line(line, {problem_code::bad_ini, "'" + std::string(words) + "' has no ]", std::string(words), section_forms});
      if (const auto rest = rules::trimmed(without_comment(words.substr(close + 1))); !rest.empty() && rest.front() != ';' && rest.front() != '#')
        return on_line(line, {problem_code::unexpected_word, "'" + std::string(rest) + "' stands behind the section's title", std::string(rest), {}});
      const std::string title(words.substr(1, close - 1));
      if (const auto good = check_title(title, line); !good) return good.error();
      if (const auto* twice = out.find(title))
        return on_line(line, {problem_code::bad_ini, "there is a second section [" + title + "]; the first is on line " + std::to_string(twice->line), title, {}});
      out.sections.push_back({title, line, {}, {}});
    } else if (!words.empty() && out.sections.empty()) {
      return on_line(line, {problem_code::unknown_section, "'" + std::string(words) + "' stands before any section; [experiment] is expected first", std::string(words), section_forms});
    }
    if (!words.empty()) {
      section& now = out.sections.back();
      if (now.title.starts_with("expect ")) {
        if (words.front() != '[')
          out.expects.push_back({static_cast<window>(std::ranges::find(window_names, now.title.substr(7)) - window_names),
                                 std::string(rules::trimmed(without_comment(words))), line});
      } else {
        (now.title.starts_with("fault ") ? for_faults : for_keys) = row;
        const bool indented = row.front() == ' ' || row.front() == '\t';
        if (words.front() != '[' && !indented) {
          const std::string key(rules::trimmed(words.substr(0, words.find_first_of("=:"))));
          if (!now.lines.emplace(key, line).second)
            return on_line(line, {problem_code::bad_ini, "the key '" + key + "' stands twice in [" + now.title + "]; the first is on line " + std::to_string(now.lines[key]), key, {}});
        }
      }
    }
    out.keyed += for_keys + '\n';
    out.faults += for_faults + '\n';
  }
  return out;
}

int take(void* user, const char* title, const char* key, const char* value) {
  auto* s = static_cast<scanned*>(user)->find(title);
  if (!s) return 0;
  for (auto& [known, text] : s->keys)
    if (known == key) {
      text += std::string(" ") + value;  // an indented line goes on
      return 1;
    }
  s->keys.emplace_back(key, value);
  return 1;
}

// Reads the keys of one section; each reader is named once, which is also the list of what may stand there.
class keys {
 public:
  explicit keys(const section& s) : section_(s) {}

  template <class Reader>
  keys& on(const std::string& name, Reader reader) {
    known_.push_back(name);
    for (const auto& [key, value] : section_.keys) {
      if (key != name || problem_) continue;
      const result<done> outcome = reader(value);
      if (!outcome) problem_ = on_line(section_.line_of(key), outcome.error());
    }
    return *this;
  }
  result<done> end(std::string_view what) {
    for (const auto& [key, value] : section_.keys)
      if (std::ranges::find(known_, key) == known_.end())
        return on_line(section_.line_of(key), rules::unknown_word(problem_code::unknown_option, std::string("key of ") + std::string(what), key, known_));
    if (problem_) return *problem_;
    return done{};
  }

 private:
  const section& section_;
  std::vector<std::string> known_;
  std::optional<problem> problem_;
};

auto text_into(std::string& into, const char* what) {
  return [&into, what](const std::string& value) -> result<done> {
    if (value.empty()) return problem{problem_code::missing_word, std::string(what) + ": nothing stands behind it", what, {}};
    into = value;
    return done{};
  };
}

auto duration_into(nanoseconds& into, const char* what, std::uint64_t least_ns, std::uint64_t most_ns) {
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

result<done> read_address(const std::string& what, std::string_view text, std::string& host, int& port) {
  const auto wrong = [&] {
    return problem{problem_code::bad_value, what + ": '" + std::string(text) + "' is not HOST:PORT", std::string(text), {"127.0.0.1:8080", "[::1]:8080"}};
  };
  const auto colon = text.rfind(':');
  if (colon == text.npos || colon == 0) return wrong();
  std::string_view name = text.substr(0, colon);
  if (name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  else if (name.find(':') != name.npos) return wrong();
  const auto number = text.substr(colon + 1);
  port = 0;
  for (const char c : number) {
    if (c < '0' || c > '9' || port > 65535) return wrong();
    port = port * 10 + (c - '0');
  }
  if (name.empty() || number.empty() || port < 1 || port > 65535) return wrong();
  host = name;
  return done{};
}

// http://HOST[:PORT]/PATH, where PATH may hold one {FIRST..LAST}
result<done> read_url(const std::string& text, probe_plan& into) {
  constexpr std::string_view scheme = "http://";
  if (!text.starts_with(scheme))
    return problem{problem_code::bad_value, "url: '" + text + "' does not begin with http:// (TLS is not supported)", text, {"http://127.0.0.1:8080/"}};
  std::string_view rest = std::string_view(text).substr(scheme.size());
  const auto slash = rest.find('/');
  std::string address(rest.substr(0, slash));
  std::string path = slash == rest.npos ? "/" : std::string(rest.substr(slash));
  if (address.rfind(':') == std::string::npos || address.ends_with(']')) address += ":80";
  if (const auto good = read_address("url", address, into.host, into.port); !good)
    return problem{problem_code::bad_value, "url: '" + text + "' is not http://HOST[:PORT]/PATH", text, {"http://127.0.0.1:8080/"}};
  if (path.find_first_of(" \t") != std::string::npos)
    return problem{problem_code::bad_value, "url: '" + text + "' holds a blank; %20 is expected", text, {"%20"}};
  const auto open = path.find('{');
  if (open == std::string::npos) return into.path_before = path, done{};
  const auto close = path.find('}', open), dots = path.find("..", open);
  const auto wrong = problem{problem_code::bad_value, "url: '" + path.substr(open) + "' is not {FIRST..LAST}, such as {1..1000}", path.substr(open), {"{1..1000}"}};
  if (close == std::string::npos || dots == std::string::npos || dots > close || path.find('{', close) != std::string::npos) return wrong;
  const auto first = rules::parse_seed("url", path.substr(open + 1, dots - open - 1)), last = rules::parse_count("url", path.substr(dots + 2, close - dots - 2));
  if (!first || !last || *first > *last) return wrong;
  into.first = *first, into.last = *last;
  into.path_before = path.substr(0, open), into.path_after = path.substr(close + 1);
  return done{};
}

result<done> read_status(const std::string& text, probe_plan& into) {
  into.status.clear();
  for (const auto& raw : rules::split(text, ',')) {
    const std::string item(rules::trimmed(raw));
    const auto wrong = problem{problem_code::bad_value, "status: '" + item + "' is not a status (200), a class (2xx) or a range (200..399)", item, {"200", "2xx", "200..399"}};
    const auto number = [](std::string_view digits, char x) {
      if (digits.size() != 3 || digits[0] < '1' || digits[0] > '5') return 0;
      int n = 0;
      for (char c : digits) {
        if (c == 'x') c = x;
        if (c < '0' || c > '9') return 0;
        n = n * 10 + (c - '0');
      }
      return n;
    };
    const auto dots = item.find("..");
    const status_range range = dots == std::string::npos ? status_range{number(item, '0'), number(item, '9')}
                                                         : status_range{number(item.substr(0, dots), '0'), number(item.substr(dots + 2), '9')};
    if (range.low == 0 || range.high < range.low) return wrong;
    into.status.push_back(range);
  }
  return done{};
}

result<std::string> unescaped(const char* what, const std::string& text) {
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
  return out;
}

auto escaped_into(std::string& into, const char* what) {
  return [&into, what](const std::string& value) -> result<done> {
    auto read = unescaped(what, value);
    if (!read) return read.error();
    into = std::move(*read);
    return done{};
  };
}

constexpr std::uint64_t ms = 1'000'000, second = 1'000 * ms, hour = 3600 * second;

result<probe_plan> read_probe(const section& s) {
  probe_plan p;
  p.name = std::string(rules::trimmed(std::string_view(s.title).substr(6)));
  const std::string where = "[" + s.title + "]";
  std::string kind;
  for (const auto& [key, value] : s.keys)
    if (key == "kind") kind = value;
  const std::vector<std::string> kinds(std::begin(probe_kind_names), std::end(probe_kind_names));
  if (kind.empty()) return on_line(s.line, {problem_code::missing_word, where + ": kind is missing: http, tcp or command", "kind", kinds});
  const auto at = std::ranges::find(kinds, kind);
  if (at == kinds.end()) return on_line(s.line_of("kind"), rules::unknown_word(problem_code::bad_value, "kind of probe", kind, kinds));
  p.kind = static_cast<probe_kind>(at - kinds.begin());

  keys k(s);
  bool placed = false;
  k.on("kind", [](const std::string&) -> result<done> { return done{}; });
  k.on("interval", duration_into(p.interval, "interval", ms, hour));
  k.on("rate", [&](std::string text) -> result<done> {
    if (text.ends_with("/s")) text.resize(text.size() - 2);
    char* end = nullptr;
    const double rate = std::strtod(text.c_str(), &end);
    if (text.empty() || *end || !std::isfinite(rate) || rate < 0.001 || rate > 1000)
      return problem{problem_code::bad_value, "rate: '" + text + "' is not a number of requests a second from 0.001 to 1000", text, {"20/s", "20"}};
    if (s.lines.contains("interval")) return problem{problem_code::bad_combination, "interval and rate say the same twice", "rate", {}};
    p.interval = nanoseconds(static_cast<std::int64_t>(1e9 / rate));
    return done{};
  });
  k.on("timeout", duration_into(p.timeout, "timeout", ms, hour));
  switch (p.kind) {
    case probe_kind::http:
      k.on("url", [&](const std::string& text) { return placed = true, read_url(text, p); });
      k.on("status", [&](const std::string& text) { return read_status(text, p); });
      k.on("body", text_into(p.body, "body"));
      break;
    case probe_kind::tcp:
      k.on("address", [&](const std::string& text) { return placed = true, read_address("address", text, p.host, p.port); });
      k.on("send", escaped_into(p.send, "send"));
      k.on("expect", escaped_into(p.expect, "expect"));
      break;
    case probe_kind::command:
      k.on("command", [&](const std::string& text) { return placed = true, text_into(p.command, "command")(text); });
      break;
  }
  if (const auto good = k.end("a probe of the kind " + kind); !good) return good.error();
  static constexpr const char* places[] = {"url", "address", "command"};
  const char* place = places[static_cast<int>(p.kind)];
  if (!placed) return on_line(s.line, {problem_code::missing_word, where + ": " + place + " is missing", place, {place}});
  if (p.workers() > probe_workers_max)
    return on_line(s.line, {problem_code::bad_combination, where + ": with this rate and timeout " + std::to_string(p.workers()) + " requests could be under way at once; at most " +
                            std::to_string(probe_workers_max) + " may be: lower one of the two", "timeout", {}});
  return p;
}

result<done> read_experiment(const section& s, plan& into) {
  keys k(s);
  k.on("name", text_into(into.name, "name"));
  k.on("hypothesis", text_into(into.hypothesis, "hypothesis"));
  k.on("baseline", duration_into(into.baseline, "baseline", 100 * ms, hour));
  k.on("observe", duration_into(into.observe, "observe", 100 * ms, hour));
  k.on("recover", duration_into(into.recover, "recover", 100 * ms, hour));
  k.on("after", duration_into(into.after, "after", 100 * ms, hour));
  k.on("healthy", [&](const std::string& text) -> result<done> {
    const auto n = rules::parse_count("healthy", text);
    if (!n) return n.error();
    if (*n > 1000) return problem{problem_code::bad_value, "healthy: " + text + " is more than 1000", text, {"5"}};
    into.healthy = static_cast<unsigned>(*n);
    return done{};
  });
  if (const auto good = k.end("[experiment]"); !good) return good.error();
  for (const auto& [key, text] : {std::pair<const char*, const std::string&>{"name", into.name}, {"hypothesis", into.hypothesis}})
    if (text.empty()) return on_line(s.line, {problem_code::missing_word, std::string("[experiment]: ") + key + " is missing", key, {key}});
  return done{};
}

// Where the problem of a fault stands: the line that holds its word, in the section that its message names.
problem placed(problem p, scanned& all) {
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

result<done> read_faults(scanned& all, plan& into) {
  auto specs = rules::specs_from_ini(all.faults);
  if (!specs) return placed(specs.error(), all);
  for (const auto& spec : *specs) {
    const std::string title = "[fault " + spec.get(rules::option::name_) + "]";
    for (const auto bad : {rules::option::owner_, rules::option::forever_})
      if (spec.has(bad))
        return placed({problem_code::bad_combination, title + ": " + rules::info_of(bad).name + " has no meaning here: the faults of an experiment end with it", rules::info_of(bad).name, {}}, all);
    rules::compile_setting setting;
    setting.id = setting.slot = 1;
    if (const auto compiled = rules::compile(spec, setting); !compiled) {
      auto p = compiled.error();
      p.message = title + ": " + p.message;
      return placed(std::move(p), all);
    }
  }
  into.faults = std::move(*specs);
  return done{};
}

void imply(plan& p, const std::vector<std::string>& faults) {
  const auto has = [&](window when, metric what, const std::string& of) {
    return std::ranges::any_of(p.expectations, [&](const expectation& e) { return e.when == when && e.what == what && (of.empty() || e.argument == of || e.probe == of); });
  };
  const auto add = [&](window when, metric what, std::string probe, std::string argument, comparison how, double bound, std::string text) {
    expectation e;
    e.when = when, e.what = what, e.probe = std::move(probe), e.argument = std::move(argument), e.how = how, e.bound = bound, e.text = std::move(text), e.implied = true;
    p.expectations.push_back(std::move(e));
  };
  for (const auto& probe : p.probes)
    if (!std::ranges::any_of(p.expectations, [&](const expectation& e) { return e.when == window::baseline && e.probe == probe.name; }))
      add(window::baseline, metric::success_rate, probe.name, "", comparison::at_least, 0.99, (p.probes.size() > 1 ? probe.name + " " : "") + "success_rate >= 99%");
  for (const auto& fault : faults)
    if (!has(window::during, metric::fired, fault)) add(window::during, metric::fired, "", fault, comparison::at_least, 1, "fired " + fault + " >= 1");
  if (!has(window::after, metric::recovery, ""))
    add(window::after, metric::recovery, "", "", comparison::at_most, static_cast<double>(p.recover.count()), "recovery <= " + rules::format_duration(static_cast<std::uint64_t>(p.recover.count())));
}

}  // namespace

unsigned probe_plan::workers() const {
  const double under_way = std::ceil(static_cast<double>(timeout.count()) / static_cast<double>(interval.count())) + 1;
  return under_way > 1e6 ? 1'000'000 : static_cast<unsigned>(under_way);
}

environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    return value ? std::optional<std::string>(value) : std::nullopt;
  };
}

result<plan> parse_plan(std::string_view text, const environment& variables) {
  auto all = scan(text, variables);
  if (!all) return all.error();
  const int outcome = ini_parse_string(all->keyed.c_str(), take, &*all);
  if (outcome != 0) {
    const std::string row = outcome > 0 && static_cast<std::size_t>(outcome) <= all->rows.size() ? std::string(rules::trimmed(all->rows[static_cast<std::size_t>(outcome) - 1])) : "";
    return on_line(outcome, {problem_code::bad_ini, "'" + row + "' is neither [section] nor key = value", row, {}});
  }
  plan p;
  const section* const experiment = all->find("experiment");
  if (!experiment) return problem{problem_code::missing_word, "there is no [experiment]", "", {"[experiment]"}};
  if (const auto good = read_experiment(*experiment, p); !good) return good.error();
  std::vector<std::string> probes, faults;
  for (const auto& s : all->sections) {
    if (!s.title.starts_with("probe ")) continue;
    auto probe = read_probe(s);
    if (!probe) return probe.error();
    probes.push_back(probe->name);
    p.probes.push_back(std::move(*probe));
  }
  if (p.probes.empty()) return problem{problem_code::missing_word, "there is no [probe NAME]: nothing would be measured", "", {"[probe NAME]"}};
  if (p.probes.size() > probes_max) return problem{problem_code::too_many, "more than " + std::to_string(probes_max) + " probes", "", {}};
  if (const auto good = read_faults(*all, p); !good) return good.error();
  for (const auto& spec : p.faults) faults.push_back(spec.get(rules::option::name_));
  if (faults.empty()) return problem{problem_code::missing_word, "there is no [fault NAME]: nothing would be injected", "", {"[fault NAME]"}};
  if (all->expects.size() > expectations_max) return problem{problem_code::too_many, "more than " + std::to_string(expectations_max) + " expectations", "", {}};
  bool tested = false, measured_after = false;
  for (const auto& row : all->expects) {
    auto e = parse_expectation(row.text, row.when, probes, faults);
    if (!e) return on_line(row.line, e.error());
    if (e->what == metric::header) {
      auto& probe = *std::ranges::find(p.probes, e->probe, &probe_plan::name);
      if (probe.kind != probe_kind::http) return on_line(row.line, {problem_code::bad_combination, "header: the probe '" + probe.name + "' is not of the kind http", "header", {}});
      const std::pair<std::string, std::string> wanted{e->argument, e->header_value};
      if (std::ranges::find(probe.headers, wanted) == probe.headers.end()) probe.headers.push_back(wanted);
      if (probe.headers.size() > 32) return on_line(row.line, {problem_code::too_many, "more than 32 headers are looked for", "header", {}});
    }
    if (e->what == metric::status && std::ranges::find(p.probes, e->probe, &probe_plan::name)->kind != probe_kind::http)
      return on_line(row.line, {problem_code::bad_combination, "status: the probe '" + e->probe + "' is not of the kind http", "status", {}});
    tested = tested || (e->when != window::baseline && e->what != metric::fired && e->what != metric::matched);
    measured_after = measured_after || (e->when == window::after && e->what != metric::recovery);
    p.expectations.push_back(std::move(*e));
  }
  if (!tested)
    return problem{problem_code::missing_word, "nothing is expected: [expect during] or [expect after] needs a line such as success_rate >= 99%", "", {"[expect during]", "[expect after]"}};
  if (p.after.count() == 0 && measured_after) p.after = p.baseline;
  double samples = 0;
  for (const auto& probe : p.probes) samples += static_cast<double>((p.baseline + p.observe + p.recover + p.after).count()) / static_cast<double>(probe.interval.count());
  if (samples > samples_max)
    return problem{problem_code::too_many, "the probes would make " + std::to_string(static_cast<long>(samples)) + " requests; at most " + std::to_string(samples_max) + " are kept: lower a rate or a phase", "", {}};
  imply(p, faults);
  return p;
}

}  // namespace chaos::experiment
