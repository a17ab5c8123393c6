#include "expectation.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "control/rules/values.hpp"

namespace chaos::experiment {

using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr unsigned baseline = 1, during = 2, after = 4, any = 7;
constexpr bool probe = true, experiment = false;

constexpr metric_info metric_table[] = {
#define METRIC(name, unit_, argument_, of, windows, meaning) {#name, unit::unit_, argument_form::argument_, of, windows, meaning},
#include "metrics.def"
#undef METRIC
};

std::vector<std::string> metric_names(window when) {
  std::vector<std::string> names;
  for (const auto& m : metric_table)
    if (m.windows >> static_cast<unsigned>(when) & 1) names.emplace_back(m.name);
  return names;
}

const metric_info* find_metric(std::string_view name) {
  const auto found = std::ranges::find(metric_table, name, [](const metric_info& m) { return std::string_view(m.name); });
  return found == std::end(metric_table) ? nullptr : found;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (const auto& word : rules::split(text, ' '))
    for (const auto& part : rules::split(word, '\t'))
      if (!rules::trimmed(part).empty()) words.emplace_back(rules::trimmed(part));
  return words;
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : between) + w;
  return out;
}

result<double> parse_number(std::string_view text, std::string_view what, const std::vector<std::string>& like) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || !std::isfinite(value) || value < 0)
    return problem{problem_code::bad_value, std::string(what) + ": '" + std::string(text) + "' is not a number such as " + joined(like, " or "),
                   std::string(text), like};
  return value;
}

result<double> parse_bound(const metric_info& m, std::string_view text) {
  const std::string whole(text);
  switch (m.unit) {
    case unit::share: {
      const bool percent = !text.empty() && text.back() == '%';
      auto number = parse_number(percent ? text.substr(0, text.size() - 1) : text, m.name, {"99%", "0.99"});
      if (!number) return number;
      const double share = percent ? *number / 100 : *number;
      if (share > 1)
        return problem{problem_code::bad_value, std::string(m.name) + ": '" + whole + "' is more than all; a share is 0% to 100%, or 0 to 1", whole, {"99%", "0.99"}};
      return share;
    }
    case unit::time: {
      const auto ns = rules::parse_duration(m.name, text);
      if (!ns) return ns.error();
      return static_cast<double>(*ns);
    }
    case unit::factor:
      if (!text.empty() && text.back() == 'x') text.remove_suffix(1);
      return parse_number(text, m.name, {"5", "5x", "0.8"});
    case unit::rate:
      if (text.ends_with("/s")) text.remove_suffix(2);
      return parse_number(text, m.name, {"20/s", "20"});
    case unit::count: return parse_number(text, m.name, {"1", "100"});
  }
  return 0.0;
}

result<rules::done> check_status(const std::string& text) {
  const bool shape = text.size() == 3 && text[0] >= '1' && text[0] <= '5' &&
                     ((text[1] == 'x' && text[2] == 'x') || (text[1] >= '0' && text[1] <= '9' && text[2] >= '0' && text[2] <= '9'));
  if (shape) return rules::done{};
  return problem{problem_code::bad_value, "status: '" + text + "' is not an HTTP status; a number such as 503 or a class such as 5xx is expected", text, {"503", "5xx"}};
}

}  // namespace

const metric_info& info_of(metric m) { return metric_table[static_cast<unsigned>(m)]; }

bool expectation::holds(double measured) const {
  if (std::isnan(measured)) return false;
  switch (how) {
    case comparison::at_least: return measured >= bound;
    case comparison::above: return measured > bound;
    case comparison::at_most: return measured <= bound;
    case comparison::below: return measured < bound;
  }
  return false;
}

result<expectation> parse_expectation(std::string_view text, window when, const std::vector<std::string>& probes,
                                      const std::vector<std::string>& faults) {
  const auto at = text.find_last_of("<>");
  if (at == text.npos) {
    const bool equals = text.find('=') != text.npos;
    return problem{problem_code::missing_word,
                   "'" + std::string(rules::trimmed(text)) + "' has no comparison" + (equals ? " ('=' alone is none)" : "") +
                       "; METRIC followed by >=, >, <= or < and a bound is expected, such as success_rate >= 99%",
                   std::string(rules::trimmed(text)), {">=", ">", "<=", "<"}};
  }
  const bool equal = at + 1 < text.size() && text[at + 1] == '=';
  expectation e;
  e.when = when;
  e.how = text[at] == '>' ? (equal ? comparison::at_least : comparison::above) : (equal ? comparison::at_most : comparison::below);
  auto left = words_of(text.substr(0, at));
  const auto right = words_of(text.substr(at + (equal ? 2 : 1)));
  const std::string op = std::string(1, text[at]) + (equal ? "=" : "");
  e.text = joined(left, " ") + " " + op + " " + joined(right, " ");
  if (left.empty()) return problem{problem_code::missing_word, "what is compared is missing before " + op, op, metric_names(when)};

  const metric_info* m = find_metric(left[0]);
  if (!m) {
    const bool is_probe = std::ranges::find(probes, left[0]) != probes.end();
    if (is_probe && left.size() == 1)
      return problem{problem_code::missing_word, "'" + left[0] + "' is a probe: what of it? A metric such as success_rate is missing", left[0], metric_names(when)};
    if (!is_probe) {
      auto choices = metric_names(when);
      if (left.size() > 1 && find_metric(left[1])) return rules::unknown_word(problem_code::bad_value, "probe", left[0], probes);
      return rules::unknown_word(problem_code::bad_value, "metric", left[0], std::move(choices));
    }
    e.probe = left[0];
    left.erase(left.begin());
    m = find_metric(left[0]);
    if (!m) return rules::unknown_word(problem_code::bad_value, "metric", left[0], metric_names(when));
  }
  e.what = static_cast<metric>(m - metric_table);
  if (!(m->windows >> static_cast<unsigned>(when) & 1)) {
    std::string places;
    for (unsigned w = 0; w < 3; ++w)
      if (m->windows >> w & 1) places += std::string(places.empty() ? "" : " or ") + "[expect " + window_names[w] + "]";
    return problem{problem_code::bad_combination, std::string(m->name) + " has no meaning in [expect " + window_names[static_cast<int>(when)] + "]; it belongs in " + places,
                   m->name, metric_names(when)};
  }
  if (!m->of_probe && !e.probe.empty())
    return problem{problem_code::unexpected_word, std::string(m->name) + " is not of a probe: '" + e.probe + "' is a word too many", e.probe, {m->name}};
  if (m->of_probe && e.probe.empty() && e.what != metric::recovery) {
    if (probes.size() > 1)
      return problem{problem_code::missing_word, "there are several probes: say which, as in '" + probes[0] + " " + e.text + "'", left[0], probes};
    if (!probes.empty()) e.probe = probes[0];
  }

  left.erase(left.begin());
  const std::string argument = joined(left, " ");
  switch (m->argument) {
    case argument_form::none:
      if (!left.empty())
        return problem{problem_code::unexpected_word, "'" + left[0] + "' is a word too many between " + m->name + " and " + op, left[0], {op}};
      break;
    case argument_form::status:
      if (const auto good = check_status(argument); !good) return good.error();
      e.argument = argument;
      break;
    case argument_form::header: {
      const auto colon = argument.find(':');
      if (colon == argument.npos || colon == 0 || rules::trimmed(std::string_view(argument).substr(colon + 1)).empty())
        return problem{problem_code::bad_value, "header: '" + argument + "' is not NAME: VALUE", argument, {"X-Source: redis"}};
      e.argument = std::string(rules::trimmed(std::string_view(argument).substr(0, colon)));
      e.header_value = std::string(rules::trimmed(std::string_view(argument).substr(colon + 1)));
      break;
    }
    case argument_form::fault:
      if (std::ranges::find(faults, argument) == faults.end()) return rules::unknown_word(problem_code::bad_value, "fault", argument, faults);
      e.argument = argument;
      break;
  }
  if (right.size() != 1)
    return problem{right.empty() ? problem_code::missing_word : problem_code::unexpected_word,
                   right.empty() ? "the bound is missing after " + op : "'" + right[1] + "' is a word too many after the bound " + right[0],
                   right.empty() ? op : right[1], {}};
  const auto bound = parse_bound(*m, right[0]);
  if (!bound) return bound.error();
  e.bound = *bound;
  return e;
}

std::string human(unit u, double value) {
  if (std::isnan(value)) return "-";
  char text[64];
  const auto decimal = [&](double v, const char* suffix) {
    std::snprintf(text, sizeof text, v >= 100 || v == std::floor(v) ? "%.0f%s" : v >= 10 ? "%.1f%s" : "%.2f%s", v, suffix);
    return std::string(text);
  };
  if (std::isinf(value)) return "never";
  switch (u) {
    case unit::share: std::snprintf(text, sizeof text, value == 1 || value == 0 ? "%.0f%%" : "%.1f%%",
                                    value > 0.999 && value < 1 ? 99.9 : value < 0.001 && value > 0 ? 0.1 : value * 100); return text;
    case unit::time: return value < 1e6 ? decimal(value / 1e3, " µs") : value < 1e9 ? decimal(value / 1e6, " ms") : decimal(value / 1e9, " s");
    case unit::factor: return decimal(value, "x");
    case unit::rate: return decimal(value, "/s");
    case unit::count: std::snprintf(text, sizeof text, "%.0f", value); return text;
  }
  return "";
}

}  // namespace chaos::experiment
