// [probe NAME] and [load NAME]: every kind reads its own keys.
#include <regex.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "control/rules/values.hpp"
#include "keys.hpp"
#include "plan_parts.hpp"

namespace chaos::experiment {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

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

// One {FIRST..LAST} in a text.
result<done> read_counting(const char* what, const std::string& text, counting_text& into) {
  into = {};
  const auto open = text.find('{');
  if (open == std::string::npos) return into.before = text, done{};
  const auto close = text.find('}', open), dots = text.find("..", open);
  const auto wrong = problem{problem_code::bad_value, std::string(what) + ": '" + text.substr(open) + "' is not {FIRST..LAST}, such as {1..1000}", text.substr(open), {"{1..1000}"}};
  if (close == std::string::npos || dots == std::string::npos || dots > close || text.find('{', close) != std::string::npos) return wrong;
  const auto first = rules::parse_seed(what, text.substr(open + 1, dots - open - 1)), last = rules::parse_count(what, text.substr(dots + 2, close - dots - 2));
  if (!first || !last || *first > *last) return wrong;
  into.first = *first, into.last = *last;
  into.before = text.substr(0, open), into.after = text.substr(close + 1);
  return done{};
}

// http://HOST[:PORT]/PATH
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
  return read_counting("url", path, into.path);
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

result<done> read_fallback(const std::string& text, probe_plan& into) {
  const auto colon = text.find(':');
  const std::string name(rules::trimmed(std::string_view(text).substr(0, colon)));
  const std::string value(colon == text.npos ? "" : rules::trimmed(std::string_view(text).substr(colon + 1)));
  if (name.empty() || value.empty()) return problem{problem_code::bad_value, "fallback: '" + text + "' is not NAME: VALUE", text, {"X-Source: postgres"}};
  into.fallback = 0;
  into.marks.push_back({name, value});
  return done{};
}

result<done> read_rate(std::string text, double most, nanoseconds& interval) {
  if (text.ends_with("/s")) text.resize(text.size() - 2);
  char* end = nullptr;
  const double rate = std::strtod(text.c_str(), &end);
  if (text.empty() || *end || !std::isfinite(rate) || rate < 0.001 || rate > most)
    return problem{problem_code::bad_value, "rate: '" + text + "' is not a number of requests a second from 0.001 to " + std::to_string(static_cast<int>(most)), text, {"20/s", "20"}};
  interval = nanoseconds(static_cast<std::int64_t>(1e9 / rate));
  return done{};
}

value_reader expression_into(std::string& into) {
  return [&into](const std::string& text) -> result<done> {
    regex_t compiled;
    const int error = regcomp(&compiled, text.c_str(), REG_EXTENDED | REG_NOSUB);
    if (error) {
      char said[200];
      regerror(error, &compiled, said, sizeof said);
      return problem{problem_code::bad_value, "match: '" + text + "' is not an extended regular expression: " + said, text, {}};
    }
    regfree(&compiled);
    into = text;
    return done{};
  };
}

value_reader number_into(std::optional<double>& into, const char* what) {
  return [&into, what](const std::string& text) -> result<done> {
    char* end = nullptr;
    const double n = std::strtod(text.c_str(), &end);
    if (text.empty() || *end || !std::isfinite(n)) return problem{problem_code::bad_value, std::string(what) + ": '" + text + "' is not a number", text, {"1"}};
    into = n;
    return done{};
  };
}

value_reader states_into(std::vector<std::string>& into) {
  static const std::vector<std::string> known{"closed", "open", "half_open", "forced_open", "disabled", "metrics_only"};
  return [&into](const std::string& text) -> result<done> {
    into.clear();
    for (const auto& state : rules::split(text, ',')) {
      if (const auto at = rules::parse_choice("state", state, known); !at) return at.error();
      into.push_back(state);
    }
    return done{};
  };
}

value_reader counting_into(const char* what, counting_text& into) {
  return [what, &into](const std::string& text) -> result<done> {
    if (text.empty()) return problem{problem_code::missing_word, std::string(what) + ": nothing stands behind it", what, {}};
    return read_counting(what, text, into);
  };
}

void read_kind(section_reader& r, probe_plan& p) {
  const auto http = [&] {
    r.on("url", [&](const std::string& text) { return read_url(text, p); });
    r.on("status", [&](const std::string& text) { return read_status(text, p); });
    r.on("body", text_into(p.body, "body"));
    r.on("fallback", [&](const std::string& text) { return read_fallback(text, p); });
  };
  const auto address = [&] { r.on("address", [&](const std::string& text) { return read_address("address", text, p.host, p.port); }); };
  const auto good = [&](bool absent) {
    p.absent = absent;
    r.on("good", [&p](const std::string& text) -> result<done> {
      const auto at = rules::parse_choice("good", text, {"absent", "present"});
      if (!at) return at.error();
      p.absent = *at == 0;
      return done{};
    });
  };
  switch (p.kind) {
    case probe_kind::http: http(); break;
    case probe_kind::tcp:
      address();
      r.on("send", escaped_into(p.send, "send")).on("expect", escaped_into(p.expect, "expect"));
      break;
    case probe_kind::command: r.on("command", text_into(p.command.before, "command")); break;
    case probe_kind::redis:
      p.port = 6379;
      p.command.before = "PING";
      address();
      r.on("command", counting_into("command", p.command)).on("expect", escaped_into(p.expect, "expect"));
      break;
    case probe_kind::log:
      r.on("path", text_into(p.file, "path")).on("match", expression_into(p.match));
      good(true);
      break;
    case probe_kind::stat:
      r.on("counter", text_into(p.counter, "counter")).on("rule", text_into(p.rule, "rule"));
      r.on("at_least", number_into(p.at_least, "at_least")).on("at_most", number_into(p.at_most, "at_most"));
      break;
    case probe_kind::breaker: r.on("breaker", text_into(p.breaker, "breaker")).on("state", states_into(p.states)); break;
    case probe_kind::timeline:
      r.on("match", expression_into(p.match));
      good(false);
      break;
  }
}

result<std::string> kind_of(const section& s, const std::vector<std::string>& kinds) {
  const std::string kind = s.value_of("kind");
  std::string all;
  for (const auto& k : kinds) all += (all.empty() ? "" : &k == &kinds.back() ? " or " : ", ") + k;
  if (kind.empty()) return on_line(s.line, {problem_code::missing_word, "[" + s.title + "]: kind is missing: " + all, "kind", kinds});
  if (std::ranges::find(kinds, kind) == kinds.end()) return on_line(s.line_of("kind"), rules::unknown_word(problem_code::bad_value, "kind of " + s.type(), kind, kinds));
  return kind;
}

value_reader taken_already() {
  return [](const std::string&) -> result<done> { return done{}; };
}

}  // namespace

result<probe_plan> read_probe(const section& s) {
  const std::vector<std::string> kinds(std::begin(probe_kind_names), std::end(probe_kind_names));
  const auto kind = kind_of(s, kinds);
  if (!kind) return kind.error();
  probe_plan p;
  p.name = s.name();
  p.kind = static_cast<probe_kind>(std::ranges::find(kinds, *kind) - kinds.begin());
  section_reader r(s, *kind);
  r.on("kind", taken_already());
  r.on("interval", duration_into(p.interval, "interval", ms, hour));
  r.on("rate", [&](const std::string& text) -> result<done> {
    if (s.has("interval")) return problem{problem_code::bad_combination, "interval and rate say the same twice", "rate", {}};
    return read_rate(text, 1000, p.interval);
  });
  r.on("timeout", duration_into(p.timeout, "timeout", ms, hour));
  read_kind(r, p);
  if (const auto good = r.read(); !good) return good.error();
  const std::string where = "[" + s.title + "]";
  if (p.kind == probe_kind::stat && !p.at_least && !p.at_most)
    return on_line(s.line, {problem_code::missing_word, where + ": at_least or at_most is missing: when is it good?", "at_least", {"at_least", "at_most"}});
  if (p.workers() > probe_workers_max)
    return on_line(s.line, {problem_code::bad_combination, where + ": with this rate and timeout " + std::to_string(p.workers()) + " requests could be under way at once; at most " +
                            std::to_string(probe_workers_max) + " may be: lower one of the two", "timeout", {}});
  return p;
}

result<load_plan> read_load(const section& s) {
  const std::vector<std::string> kinds{"http", "redis", "command"};
  const auto kind = kind_of(s, kinds);
  if (!kind) return kind.error();
  section_reader r(s, *kind);
  r.on("kind", taken_already());
  if (*kind == "command") {
    command_load c;
    c.name = s.name();
    r.on("command", text_into(c.command, "command"));
    if (const auto good = r.read(); !good) return good.error();
    return load_plan(c);
  }
  probe_plan p;
  p.name = s.name();
  p.kind = *kind == "http" ? probe_kind::http : probe_kind::redis;
  p.load = true;
  p.interval = std::chrono::milliseconds(10);
  std::uint64_t connections = p.connections;
  r.on("rate", [&](const std::string& text) { return read_rate(text, 50'000, p.interval); });
  r.on("connections", count_into(connections, "connections", 256));
  r.on("timeout", duration_into(p.timeout, "timeout", ms, hour));
  read_kind(r, p);
  if (const auto good = r.read(); !good) return good.error();
  p.connections = static_cast<unsigned>(connections);
  return load_plan(p);
}

unsigned probe_plan::workers() const {
  if (load) return connections;
  if (kind == probe_kind::log || kind == probe_kind::timeline) return 1;  // what is new since the last look: one after the other
  const double under_way = std::ceil(static_cast<double>(timeout.count()) / static_cast<double>(interval.count())) + 1;
  return under_way > 1e6 ? 1'000'000 : static_cast<unsigned>(under_way);
}

std::string counting_text::at(std::uint64_t number) const { return last ? before + std::to_string(first + number % (last - first + 1)) + after : before; }

}  // namespace chaos::experiment
