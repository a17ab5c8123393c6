// [fault NAME], [stress NAME] and [process NAME].
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "control/rules/compile.hpp"
#include "control/rules/values.hpp"
#include "control/stress/plan.hpp"
#include "plan_parts.hpp"

namespace chaos::experiment {

using rules::done;
using rules::option;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr auto ramp_step = std::chrono::milliseconds(250);
constexpr int ramp_steps_max = 40;

// A value in which a ramp can go up: what it is, and how it is written again.
struct measure {
  double number;
  std::string (*text)(double);
};

std::optional<measure> measure_of(const std::string& value) {
  if (const auto n = rules::parse_duration("value", value))
    return measure{static_cast<double>(*n), [](double v) { return rules::format_duration(static_cast<std::uint64_t>(std::llround(v / 1000)) * 1000); }};
  if (const auto n = rules::parse_rate("value", value)) return measure{static_cast<double>(*n), [](double v) { return rules::format_size(static_cast<std::uint64_t>(std::llround(v))) + "/s"; }};
  if (const auto n = rules::parse_size("value", value)) return measure{static_cast<double>(*n), [](double v) { return rules::format_size(static_cast<std::uint64_t>(std::llround(v))); }};
  if (rules::parse_probability("value", value)) {
    const bool percent = value.ends_with('%');
    return measure{std::strtod(value.c_str(), nullptr) * (percent ? 1 : 100), [](double v) {
                     char text[32];
                     std::snprintf(text, sizeof text, "%.4g%%", v);
                     return std::string(text);
                   }};
  }
  return std::nullopt;
}

// The rule itself must be a good one. chaosd may have a default for a missing latency; whether it has, it says when it is asked.
result<done> compiles(rules::rule_spec spec) {
  if (spec.kind == abi::effect::latency && spec.value.empty() && !spec.has(option::percentiles_)) spec.value = "1ms";
  rules::compile_setting setting;
  setting.id = setting.slot = 1;
  const auto compiled = rules::compile(spec, setting);
  if (!compiled) return compiled.error();
  return done{};
}

result<done> check_ramp(const fault_plan& f, const section& s) {
  if (f.ramp_to.empty() != (f.ramp_over.count() == 0))
    return on_line(s.line, {problem_code::missing_word, "[" + s.title + "]: ramp_to and ramp_over go together", f.ramp_to.empty() ? "ramp_to" : "ramp_over", {"ramp_to", "ramp_over"}});
  if (f.ramp_to.empty()) return done{};
  const auto from = measure_of(f.spec.value), to = measure_of(f.ramp_to);
  if (!from || !to || from->text != to->text)
    return on_line(s.line_of("ramp_to"), {problem_code::bad_value, "ramp_to: from '" + f.spec.value + "' to '" + f.ramp_to + "' there is no way: both must be times, sizes, rates or shares", f.ramp_to, {}});
  auto last = f.spec;
  last.value = f.ramp_to;
  if (const auto good = compiles(last); !good) {
    auto p = good.error();
    p.message = "ramp_to: " + p.message;
    return on_line(s.line_of("ramp_to"), p);
  }
  return done{};
}

}  // namespace

result<fault_plan> read_fault(const section& s, const scanned& all) {
  static constexpr const char* own[] = {"start", "ramp_to", "ramp_over"};
  const std::string where = "[" + s.title + "]: ";
  fault_plan f;
  section mine = s;
  std::erase_if(mine.keys, [](const auto& k) { return std::ranges::find(own, k.first) == std::end(own); });
  if (const auto good = section_reader(mine, "").on("start", duration_into(f.start, "start", 0, hour)).on("ramp_to", text_into(f.ramp_to, "ramp_to")).on("ramp_over", duration_into(f.ramp_over, "ramp_over", 100 * ms, hour)).read(); !good)
    return good.error();

  nlohmann::json rule = nlohmann::json::object();
  for (const auto& [key, value] : s.keys)
    if (std::ranges::find(own, key) == std::end(own)) rule[key] = value;
  if (rule.contains("name")) return placed({problem_code::unexpected_word, where + "the section's title already is the name", "name", {}}, all);
  rule["name"] = s.name();
  const auto in_place = [&](problem p) {
    p.message = where + p.message;
    return placed(std::move(p), all);
  };
  auto spec = rules::spec_from_json(rule);
  if (!spec) return in_place(spec.error());
  for (const auto bad : {option::owner_, option::forever_})
    if (spec->has(bad))
      return in_place({problem_code::bad_combination, std::string(rules::info_of(bad).name) + " has no meaning here: the faults of an experiment end with it", rules::info_of(bad).name, {}});
  if (const auto good = compiles(*spec); !good) return in_place(good.error());
  f.spec = std::move(*spec);
  if (const auto good = check_ramp(f, s); !good) return good.error();
  return f;
}

result<stress_plan> read_stress(const section& s) {
  stress_plan p;
  p.name = s.name();
  const auto run = [&](const std::string& text) -> result<done> {
    for (const auto& word : rules::split(text, ' '))
      if (!word.empty()) p.words.push_back(word);
    const auto plan = stress::plan_from_words(p.words);
    if (!plan) return plan.error();
    return done{};
  };
  if (const auto good = section_reader(s, "").on("run", run).on("start", duration_into(p.start, "start", 0, hour)).on("for", duration_into(p.length, "for", 100 * ms, hour)).read(); !good)
    return good.error();
  return p;
}

result<process_plan> read_process(const section& s) {
  process_plan p;
  p.name = s.name();
  section_reader r(s, "");
  r.on("match", [&](const std::string& text) -> result<done> {
    if (const auto good = rules::check_glob("match", text); !good) return good;
    p.glob = text;
    return done{};
  });
  r.on("pid", [&](const std::string& text) -> result<done> {
    const auto pid = rules::parse_pid("pid", text);
    if (!pid) return pid.error();
    p.pid = static_cast<int>(*pid);
    return done{};
  });
  r.on("pid_file", text_into(p.pid_file, "pid_file"));
  if (const auto good = r.read(); !good) return good.error();
  if (s.keys.size() != 1) {
    const std::string where = "[" + s.title + "]: ";
    return on_line(s.line, {s.keys.empty() ? problem_code::missing_word : problem_code::bad_combination, where + "one of match, pid and pid_file is expected", "match", {"match", "pid", "pid_file"}});
  }
  return p;
}

std::vector<fault_step> steps_of(const plan& p) {
  std::vector<fault_step> steps;
  for (const auto& f : p.faults) {
    steps.push_back({f.start, f.spec});
    if (f.ramp_to.empty()) continue;
    const auto from = *measure_of(f.spec.value), to = *measure_of(f.ramp_to);
    const int n = static_cast<int>(std::clamp<std::int64_t>(f.ramp_over / ramp_step, 2, ramp_steps_max));
    for (int i = 1; i <= n; ++i) {
      auto spec = f.spec;
      spec.value = i == n ? f.ramp_to : from.text(from.number + (to.number - from.number) * i / n);
      steps.push_back({f.start + f.ramp_over * i / n, std::move(spec)});
    }
  }
  std::ranges::stable_sort(steps, {}, &fault_step::at);
  return steps;
}

}  // namespace chaos::experiment
