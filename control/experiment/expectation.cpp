#include "expectation.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "control/rules/joined.hpp"
#include "control/rules/values.hpp"

namespace chaos::experiment {

using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

using rules::joined;

constexpr unsigned baseline = 1, during = 2, after = 4, any = 7;
constexpr double tolerance_unless_said = 0.05;

constexpr metric_info metric_table[] = {
#define METRIC(name, unit_, argument_, of, windows, form_, meaning) {#name, unit::unit_, argument_form::argument_, subject::of, windows, form::form_, meaning},
#include "metrics.def"
#undef METRIC
};

bool fits(const metric_info& m, window w) { return m.windows >> static_cast<unsigned>(w) & 1; }

window own_window(const metric_info& m) { return fits(m, window::during) ? window::during : window::after; }

std::vector<std::string> metric_names(std::optional<window> when) {
  std::vector<std::string> names;
  for (const auto& m : metric_table)
    if (!when || fits(m, *when)) names.emplace_back(m.name);
  return names;
}

const metric_info* find_metric(std::string_view name) {
  const auto found = std::ranges::find(metric_table, name, [](const metric_info& m) { return std::string_view(m.name); });
  return found == std::end(metric_table) ? nullptr : found;
}

bool among(const std::vector<std::string>& names, const std::string& name) { return std::ranges::find(names, name) != names.end(); }

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (const auto& word : rules::split(text, ' '))
    for (const auto& part : rules::split(word, '\t'))
      if (!rules::trimmed(part).empty()) words.emplace_back(rules::trimmed(part));
  return words;
}

result<double> parse_number(std::string_view text, std::string_view what, const std::vector<std::string>& like) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || !std::isfinite(value) || value < 0)
    return problem{problem_code::bad_value, std::string(what) + ": '" + std::string(text) + "' is not a number such as " + joined(like, " or "),
                   std::string(text), like};
  return value;
}

result<double> parse_share(std::string_view what, std::string_view text) {
  const bool percent = !text.empty() && text.back() == '%';
  auto number = parse_number(percent ? text.substr(0, text.size() - 1) : text, what, {"99%", "0.99"});
  if (!number) return number;
  const double share = percent ? *number / 100 : *number;
  if (share > 1)
    return problem{problem_code::bad_value, std::string(what) + ": '" + std::string(text) + "' is more than all; a share is 0% to 100%, or 0 to 1", std::string(text), {"99%", "0.99"}};
  return share;
}

result<double> parse_bound(const metric_info& m, std::string_view text) {
  switch (m.unit) {
    case unit::share: return parse_share(m.name, text);
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
    case unit::failures: return parse_number(text, m.name, {"5"});
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

// The words before the comparison, the comparison, the words behind it.
struct parts {
  std::vector<std::string> left, right;
  std::string op;  // empty: none
};

parts taken_apart(std::string_view text) {
  auto at = text.find_last_of("<>");
  std::size_t length = at != text.npos && at + 1 < text.size() && text[at + 1] == '=' ? 2 : 1;
  if (at == text.npos) at = text.rfind('='), length = 1;
  if (at == text.npos) return {words_of(text), {}, ""};
  return {words_of(text.substr(0, at)), words_of(text.substr(at + length)), std::string(text.substr(at, length))};
}

// The metric of a line is its first word, or its second behind a probe.
const metric_info* metric_of(const std::vector<std::string>& words, const known_names& names) {
  if (words.empty()) return nullptr;
  if (const auto* m = find_metric(words[0])) return m;
  return words.size() > 1 && (among(names.probes, words[0]) || among(names.logs, words[0])) ? find_metric(words[1]) : nullptr;
}

problem no_comparison(const std::string& text, bool equals) {
  return {problem_code::missing_word,
          "'" + text + "' has no comparison" + (equals ? " ('=' alone is none)" : "") + "; METRIC followed by >=, >, <= or < and a bound is expected, such as success_rate >= 99%",
          text, {">=", ">", "<=", "<"}};
}

class line {
 public:
  line(std::string_view text, std::optional<window> when, const known_names& names) : whole_(rules::trimmed(text)), when_(when), names_(names) {}

  result<expectation> parse() {
    parts_ = taken_apart(whole_);
    m_ = metric_of(words_of(whole_), names_);
    if (m_ && (m_->form == form::none || m_->form == form::some)) parts_ = {words_of(whole_), {}, ""};  // a text may hold any sign
    if (m_ && m_->form == form::compare && (parts_.op.empty() || parts_.op == "=")) return no_comparison(whole_, !parts_.op.empty());
    for (const auto step : {&line::find_names, &line::check_window, &line::read_argument, &line::read_bound})
      if (const auto good = (this->*step)(); !good) return good.error();
    e_.what = static_cast<metric>(m_ - metric_table);
    e_.text = joined(all_left_, " ") + (parts_.op.empty() ? "" : " " + parts_.op + " " + joined(parts_.right, " "));
    return e_;
  }

 private:
  using step_result = result<rules::done>;

  step_result find_names() {
    auto& left = parts_.left;
    all_left_ = left;
    if (left.empty()) return problem{problem_code::missing_word, "what is compared is missing before " + parts_.op, parts_.op, metric_names(when_)};
    m_ = find_metric(left[0]);
    if (!m_) {
      const bool is_probe = among(names_.probes, left[0]) || among(names_.logs, left[0]);
      if (is_probe && left.size() == 1)
        return problem{problem_code::missing_word, "'" + left[0] + "' is a probe: what of it? A metric such as success_rate is missing", left[0], metric_names(when_)};
      if (!is_probe) {
        if (left.size() > 1 && find_metric(left[1])) {
          auto all = names_.probes;
          all.insert(all.end(), names_.logs.begin(), names_.logs.end());
          return rules::unknown_word(problem_code::bad_value, "probe", left[0], std::move(all));
        }
        return rules::unknown_word(problem_code::bad_value, "metric", left[0], metric_names(when_));
      }
      e_.probe = left[0];
      left.erase(left.begin());
      m_ = find_metric(left[0]);
      if (!m_) return rules::unknown_word(problem_code::bad_value, "metric", left[0], metric_names(when_));
    }
    left.erase(left.begin());
    return which_probe();
  }

  step_result which_probe() {
    const std::string name = m_->name;
    if (m_->of == subject::experiment) {
      if (e_.probe.empty()) return rules::done{};
      return problem{problem_code::unexpected_word, name + " is not of a probe: '" + e_.probe + "' is a word too many", e_.probe, {name}};
    }
    const bool of_log = m_->of == subject::log;
    const std::vector<std::string>& all = of_log || names_.probes.empty() ? names_.logs : names_.probes;
    if (!e_.probe.empty()) {
      if (!of_log || among(names_.logs, e_.probe)) return rules::done{};
      return problem{problem_code::bad_combination, name + ": the probe '" + e_.probe + "' is not of the kind log", e_.probe, all};
    }
    if (m_ == &metric_table[static_cast<unsigned>(metric::recovers_within)]) return rules::done{};
    if (all.empty()) return problem{problem_code::missing_word, name + (of_log ? ": there is no probe of the kind log" : ": there is no probe and no load"), name, {"[probe NAME]"}};
    if (all.size() > 1) return problem{problem_code::missing_word, "there are several probes: say which, as in '" + all[0] + " " + joined(all_left_, " ") + "'", all_left_[0], all};
    e_.probe = all[0];
    return rules::done{};
  }

  step_result check_window() {
    e_.when = when_.value_or(own_window(*m_));
    if (fits(*m_, e_.when)) return rules::done{};
    std::string places;
    for (unsigned w = 0; w < 3; ++w)
      if (m_->windows >> w & 1) places += std::string(places.empty() ? "" : " or ") + "[expect " + window_names[w] + "]";
    return problem{problem_code::bad_combination, std::string(m_->name) + " has no meaning in [expect " + window_names[static_cast<int>(e_.when)] + "]; it belongs in " + places,
                   m_->name, metric_names(when_)};
  }

  step_result one_of(const char* what, const std::string& word, const std::vector<std::string>& choices) {
    if (among(choices, word)) return rules::done{};
    return rules::unknown_word(problem_code::bad_value, what, word, choices);
  }

  step_result read_argument() {
    auto& left = parts_.left;
    const std::string argument = joined(left, " ");
    const std::size_t most = m_->argument == argument_form::none ? 0 : m_->argument == argument_form::calls ? 2 : m_->argument == argument_form::header || m_->argument == argument_form::text ? left.size() : 1;
    if (left.size() > most)
      return problem{problem_code::unexpected_word, "'" + left[most] + "' is a word too many " + (parts_.op.empty() ? std::string("behind ") + m_->name : std::string("between ") + m_->name + " and " + parts_.op),
                     left[most], {}};
    e_.argument = argument;
    switch (m_->argument) {
      case argument_form::none:
      case argument_form::breaker: return rules::done{};
      case argument_form::status: return check_status(argument);
      case argument_form::text:
        if (argument.empty()) return problem{problem_code::missing_word, std::string(m_->name) + ": the text is missing", m_->name, {}};
        return rules::done{};
      case argument_form::header: {
        const auto colon = argument.find(':');
        if (colon == argument.npos || colon == 0 || rules::trimmed(std::string_view(argument).substr(colon + 1)).empty())
          return problem{problem_code::bad_value, "header: '" + argument + "' is not NAME: VALUE", argument, {"X-Source: redis"}};
        e_.argument = std::string(rules::trimmed(std::string_view(argument).substr(0, colon)));
        e_.second = std::string(rules::trimmed(std::string_view(argument).substr(colon + 1)));
        return rules::done{};
      }
      case argument_form::fault: return one_of("fault", argument, names_.faults);
      case argument_form::process: return argument.empty() ? step_result(rules::done{}) : one_of("process", argument, names_.processes);
      case argument_form::calls:
        if (left.size() == 2) {
          e_.argument = left[0], e_.second = left[1];
          return one_of("fault", left[1], names_.faults);
        }
        return rules::done{};
    }
    return rules::done{};
  }

  step_result read_bound() {
    auto& right = parts_.right;
    switch (m_->form) {
      case form::none: e_.how = comparison::at_most; return rules::done{};
      case form::some: e_.how = comparison::at_least, e_.bound = 1; return rules::done{};
      case form::at_most: e_.how = comparison::at_most; break;
      case form::below: e_.how = comparison::below; break;
      case form::near: e_.how = comparison::near; break;
      case form::compare: break;
    }
    if (parts_.op.empty())
      return problem{problem_code::missing_word, std::string(m_->name) + ": = and a bound are missing", m_->name, {std::string(m_->name) + " = …"}};
    if (parts_.op != "=") {
      if (m_->form == form::near)
        return problem{problem_code::bad_value, std::string(m_->name) + ": '" + parts_.op + "' where = is expected, as in = 30s ±5%", parts_.op, {"="}};
      if (m_->form != form::compare && parts_.op[0] == '>')
        return problem{problem_code::bad_value, std::string(m_->name) + ": '" + parts_.op + "' where = or < is expected", parts_.op, {"=", "<"}};
      e_.how = parts_.op == ">=" ? comparison::at_least : parts_.op == ">" ? comparison::above : parts_.op == "<=" ? comparison::at_most : comparison::below;
    }
    std::size_t used = 1;
    if (m_->unit == unit::failures && right.size() > 1 && (right[1] == "failures" || right[1] == "failure")) used = 2;
    if (m_->form == form::near) {
      e_.tolerance = tolerance_unless_said;
      if (right.size() > 1) {
        const std::string_view said = right[1];
        const std::size_t sign = said.starts_with("±") ? std::string_view("±").size() : said.starts_with("+-") ? 2 : 0;
        if (!sign) return problem{problem_code::bad_value, std::string(m_->name) + ": '" + right[1] + "' is not a tolerance such as ±5%", right[1], {"±5%"}};
        const auto share = parse_share(m_->name, said.substr(sign));
        if (!share) return share.error();
        e_.tolerance = *share;
        used = 2;
      }
    }
    if (right.size() != used)
      return problem{right.empty() ? problem_code::missing_word : problem_code::unexpected_word,
                     right.empty() ? "the bound is missing after " + parts_.op : "'" + right[used] + "' is a word too many after the bound " + right[0],
                     right.empty() ? parts_.op : right[used], {}};
    const auto bound = parse_bound(*m_, right[0]);
    if (!bound) return bound.error();
    e_.bound = *bound;
    return rules::done{};
  }

  const std::string whole_;
  const std::optional<window> when_;
  const known_names& names_;
  parts parts_;
  std::vector<std::string> all_left_;
  const metric_info* m_ = nullptr;
  expectation e_;
};

}  // namespace

const metric_info& info_of(metric m) { return metric_table[static_cast<unsigned>(m)]; }
std::span<const metric_info> all_metrics() { return metric_table; }

bool expectation::holds(double measured) const {
  if (std::isnan(measured)) return false;
  switch (how) {
    case comparison::at_least: return measured >= bound;
    case comparison::above: return measured > bound;
    case comparison::at_most: return measured <= bound;
    case comparison::below: return measured < bound;
    case comparison::near: return std::abs(measured - bound) <= tolerance * bound;
  }
  return false;
}

result<expectation> parse_expectation(std::string_view text, std::optional<window> when, const known_names& names) { return line(text, when, names).parse(); }

result<expectation> parse_abort(std::string_view text, const known_names& names) {
  auto e = line(text, window::during, names).parse();
  if (!e) return e;
  const auto& m = info_of(e->what);
  std::vector<std::string> right;
  for (const auto& row : metric_table)
    if (fits(row, window::baseline) || (row.form == form::none && row.argument != argument_form::calls)) right.emplace_back(row.name);
  if (!among(right, m.name))
    return problem{problem_code::bad_combination, std::string(m.name) + " can not be told at a moment, so it has no meaning in [abort]", m.name, right};
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
    case unit::failures: std::snprintf(text, sizeof text, "%.0f failure%s", value, value == 1 ? "" : "s"); return text;
    case unit::count: std::snprintf(text, sizeof text, "%.0f", value); return text;
  }
  return "";
}

}  // namespace chaos::experiment
