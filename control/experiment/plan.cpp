#include "plan.hpp"

#include <algorithm>

#include "control/rules/values.hpp"
#include "plan_parts.hpp"

namespace chaos::experiment {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr std::size_t expectations_max = 200;

result<done> read_experiment(const section& s, plan& into) {
  std::uint64_t healthy = into.healthy;
  section_reader r(s, "");
  r.on("name", text_into(into.name, "name"));
  r.on("hypothesis", text_into(into.hypothesis, "hypothesis"));
  r.on("baseline", duration_into(into.baseline, "baseline", 100 * ms, hour));
  r.on("observe", duration_into(into.observe, "observe", 100 * ms, hour));
  r.on("recover", duration_into(into.recover, "recover", 100 * ms, hour));
  r.on("after", duration_into(into.after, "after", 100 * ms, hour));
  r.on("abort_over", duration_into(into.abort_over, "abort_over", 100 * ms, hour));
  r.on("healthy", count_into(healthy, "healthy", 1000));
  if (const auto good = r.read(); !good) return good.error();
  into.healthy = static_cast<unsigned>(healthy);
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
    if (probe.counts_for_recovery() && !std::ranges::any_of(p.expectations, [&](const expectation& e) { return e.when == window::baseline && e.probe == probe.name; }))
      add(window::baseline, metric::success_rate, probe.name, "", comparison::at_least, 0.99, (p.probes.size() > 1 ? probe.name + " " : "") + "success_rate >= 99%");
  for (const auto& fault : faults)
    if (!has(window::during, metric::fired, fault)) add(window::during, metric::fired, "", fault, comparison::at_least, 1, "fired " + fault + " >= 1");
  if (!has(window::after, metric::recovers_within, ""))
    add(window::after, metric::recovers_within, "", "", comparison::at_most, static_cast<double>(p.recover.count()), "recovers_within = " + rules::format_duration(static_cast<std::uint64_t>(p.recover.count())));
}

result<done> read_sections(const scanned& all, plan& p) {
  for (const auto& s : all.sections) {
    const std::string type = s.type();
    if (type == "probe") {
      auto probe = read_probe(s);
      if (!probe) return probe.error();
      p.probes.push_back(std::move(*probe));
    } else if (type == "load") {
      auto load = read_load(s);
      if (!load) return load.error();
      if (auto* built_in = std::get_if<probe_plan>(&*load)) p.probes.push_back(std::move(*built_in));
      else p.commands.push_back(std::get<command_load>(std::move(*load)));
    } else if (type == "fault") {
      auto fault = read_fault(s, all);
      if (!fault) return fault.error();
      p.faults.push_back(std::move(*fault));
    } else if (type == "stress") {
      auto stress = read_stress(s);
      if (!stress) return stress.error();
      if (stress->length.count() == 0) stress->length = p.observe - std::min(stress->start, p.observe);
      p.stresses.push_back(std::move(*stress));
    } else if (type == "process") {
      auto process = read_process(s);
      if (!process) return process.error();
      p.processes.push_back(std::move(*process));
    }
  }
  if (p.probes.empty()) return problem{problem_code::missing_word, "there is no [probe NAME] and no [load NAME] of the kind http or redis: nothing would be measured", "", {"[probe NAME]", "[load NAME]"}};
  if (p.probes.size() > probes_max) return problem{problem_code::too_many, "more than " + std::to_string(probes_max) + " probes and loads", "", {}};
  if (p.faults.empty() && p.stresses.empty()) return problem{problem_code::missing_word, "there is no [fault NAME] and no [stress NAME]: nothing would be injected", "", {"[fault NAME]", "[stress NAME]"}};
  return done{};
}

result<done> check_names_and_times(const scanned& all, const plan& p) {
  for (const auto& a : p.probes)
    for (const auto& b : p.probes)
      if (&a < &b && a.name == b.name)
        return on_line(all.find("load " + b.name)->line, {problem_code::bad_ini, "a probe and a load are both called '" + a.name + "': expectations could mean either", a.name, {}});
  const auto within = [&](const std::string& title, const char* key, nanoseconds at) -> result<done> {
    if (at < p.observe) return done{};
    return on_line(all.find(title)->line, {problem_code::bad_combination, "[" + title + "]: " + key + " is not before the end of observe (" + rules::format_duration(static_cast<std::uint64_t>(p.observe.count())) + ")", key, {}});
  };
  for (const auto& f : p.faults) {
    if (const auto good = within("fault " + f.name(), "start", f.start); !good) return good;
    if (const auto good = within("fault " + f.name(), "the end of the ramp", f.start + f.ramp_over - nanoseconds(f.ramp_over.count() ? 1 : 0)); !good) return good;
  }
  for (const auto& s : p.stresses)
    if (const auto good = within("stress " + s.name, "start", s.start); !good) return good;
  return done{};
}

result<done> check_samples(const plan& p) {
  double samples = 0;
  for (const auto& probe : p.probes) samples += static_cast<double>((p.baseline + p.observe + p.recover + p.after).count()) / static_cast<double>(probe.interval.count());
  if (samples > samples_max)
    return problem{problem_code::too_many, "the probes would make " + std::to_string(static_cast<long>(samples)) + " requests; at most " + std::to_string(samples_max) + " are kept: lower a rate or a phase", "", {}};
  return done{};
}

// What the probe must look for, so that the expectation can be judged.
result<done> prepare(probe_plan& probe, expectation& e) {
  const std::string name = info_of(e.what).name;
  if ((e.what == metric::status || e.what == metric::header) && probe.kind != probe_kind::http)
    return problem{problem_code::bad_combination, name + ": the probe '" + probe.name + "' is not of the kind http", name, {}};
  if (e.what == metric::fallback_ratio && probe.fallback < 0)
    return problem{problem_code::bad_combination, "fallback_ratio: '" + probe.name + "' does not say how a fallback is known: its key fallback is missing, such as fallback = X-Source: postgres", name, {"fallback"}};
  if (e.what == metric::header || e.what == metric::log_contains || e.what == metric::log_lacks) {
    const mark wanted = e.what == metric::header ? mark{e.argument, e.second} : mark{"", e.argument};
    if (std::ranges::find(probe.marks, wanted) == probe.marks.end()) probe.marks.push_back(wanted);
    if (probe.marks.size() > marks_max) return problem{problem_code::too_many, "more than " + std::to_string(marks_max) + " headers or texts are looked for", name, {}};
  }
  return done{};
}

result<done> read_lines(const scanned& all, plan& p) {
  known_names names;
  for (const auto& probe : p.probes) (probe.kind == probe_kind::log ? names.logs : names.probes).push_back(probe.name);
  for (const auto& fault : p.faults) names.faults.push_back(fault.name());
  for (const auto& process : p.processes) names.processes.push_back(process.name);
  if (all.lines.size() > expectations_max) return problem{problem_code::too_many, "more than " + std::to_string(expectations_max) + " expectations", "", {}};
  bool tested = false, measured_after = false;
  for (const auto& row : all.lines) {
    const bool abort = row.section == "abort";
    std::optional<window> when;
    if (row.section.starts_with("expect ")) when = static_cast<window>(std::ranges::find(window_names, row.section.substr(7)) - window_names);
    auto e = abort ? parse_abort(row.text, names) : parse_expectation(row.text, when, names);
    if (!e) return on_line(row.line, e.error());
    if (!e->probe.empty())
      if (const auto good = prepare(*std::ranges::find(p.probes, e->probe, &probe_plan::name), *e); !good) return on_line(row.line, good.error());
    if (abort) {
      p.aborts.push_back(std::move(*e));
      continue;
    }
    tested = tested || (e->when != window::baseline && e->what != metric::fired && e->what != metric::matched);
    measured_after = measured_after || (e->when == window::after && e->what != metric::recovers_within);
    p.expectations.push_back(std::move(*e));
  }
  if (!tested)
    return problem{problem_code::missing_word, "nothing is expected: [expect during] or [expect after] needs a line such as success_rate >= 99%", "", {"[expect during]", "[expect after]"}};
  if (p.after.count() == 0 && measured_after) p.after = p.baseline;
  imply(p, names.faults);
  return done{};
}

}  // namespace

result<plan> parse_plan(std::string_view text, const environment& variables) {
  auto all = scan(text, variables);
  if (!all) return all.error();
  plan p;
  const section* const experiment = all->find("experiment");
  if (!experiment) return problem{problem_code::missing_word, "there is no [experiment]", "", {"[experiment]"}};
  if (const auto good = read_experiment(*experiment, p); !good) return good.error();
  if (const auto good = read_sections(*all, p); !good) return good.error();
  if (const auto good = check_names_and_times(*all, p); !good) return good.error();
  if (const auto good = read_lines(*all, p); !good) return good.error();
  if (const auto good = check_samples(p); !good) return good.error();
  return p;
}

}  // namespace chaos::experiment
