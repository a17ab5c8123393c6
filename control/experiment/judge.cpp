#include <algorithm>
#include <cmath>

#include "breaker_log.hpp"
#include "processes.hpp"

namespace chaos::experiment {

namespace {

double ratio(double now, double before) { return before > 0 ? now / before : nothing; }

double share(std::int64_t some, const statistics& s) { return s.samples ? static_cast<double>(some) / static_cast<double>(s.samples) : nothing; }

std::vector<sample> samples_in(const outcome& o, const probe_outcome& p, window w) {
  const auto* span = o.find(w == window::baseline ? phase::baseline : w == window::during ? phase::observe : phase::after);
  return span ? between(p.samples, span->from_ns, span->to_ns) : std::vector<sample>{};
}

bool status_fits(int status, const std::string& wanted) {
  const std::string text = std::to_string(status);
  return text == wanted || (wanted.ends_with("xx") && text.size() == 3 && text[0] == wanted[0]);
}

std::int64_t marked(std::span<const sample> some, std::ptrdiff_t mark, bool good_alone) {
  return std::ranges::count_if(some, [&](const sample& s) { return (s.marks >> mark & 1) && (s.good || !good_alone); });
}

std::ptrdiff_t mark_of(const probe_plan& p, const mark& wanted) { return std::ranges::find(p.marks, wanted) - p.marks.begin(); }

double measure_probe(const plan& plan, const outcome& o, const probe_outcome& p, const expectation& e, std::string& reason) {
  const auto& now = p.windows[static_cast<int>(e.when)];
  const auto& base = p.windows[0];
  switch (e.what) {
    case metric::latency_ratio: return ratio(now.p50_ns, base.p50_ns);
    case metric::latency_p95_ratio: return ratio(now.p95_ns, base.p95_ns);
    case metric::latency_p99_ratio: return ratio(now.p99_ns, base.p99_ns);
    case metric::throughput_ratio: return now.samples ? ratio(now.throughput(), base.throughput()) : nothing;
    case metric::recovers_within: return p.recovery_ns < 0 ? never : static_cast<double>(p.recovery_ns);
    case metric::fails_fast_under: {
      auto r = latency_while_open(o, p, e.argument);
      reason = std::move(r.reason);
      return r.value;
    }
    default: break;
  }
  return measure(e, *std::ranges::find(plan.probes, p.name, &probe_plan::name), samples_in(o, p, e.when), now);
}

const process_outcome* process_of(const outcome& o, const std::string& name) {
  const auto found = std::ranges::find(o.processes, name, &process_outcome::name);
  return found == o.processes.end() ? nullptr : &*found;
}

interval interval_of(const outcome& o, window w) {
  if (w == window::during) return under_faults(o);
  const auto* span = o.find(w == window::baseline ? phase::baseline : phase::after);
  return span ? interval{span->from_ns, span->to_ns} : interval{};
}

reading measure_whole(const outcome& o, const expectation& e) {
  switch (e.what) {
    case metric::fired:
    case metric::matched: {
      const auto fault = std::ranges::find(o.faults, e.argument, &fault_state::name);
      if (fault == o.faults.end()) return {0, "it was never put in force"};
      const auto why = fault->fired      ? std::string()
                       : fault->matched ? "it matched " + std::to_string(fault->matched) + " calls and never fired: the hypothesis was not put to the test"
                                        : "not one call reached it: the hypothesis was not put to the test (chaos-ctl doctor --rule " + std::to_string(fault->id) + " says why)";
      return {static_cast<double>(e.what == metric::fired ? fault->fired : fault->matched), why};
    }
    case metric::cpu:
    case metric::memory: {
      const auto* p = process_of(o, e.argument);
      const auto in = interval_of(o, e.when);
      const usage u = p ? process_watch::between(*p, in.from_ns, in.to_ns) : usage{0, nothing, nothing};
      const double value = e.what == metric::cpu ? u.cpu : u.memory;
      return {value, std::isnan(value) ? "there was no such process to measure" : ""};
    }
    case metric::no_crash: {
      reading r{0, ""};
      for (const auto& p : o.processes)
        for (const auto& end : p.ended)
          if (e.argument.empty() || p.name == e.argument) ++r.value, r.reason += (r.reason.empty() ? "" : ", ") + (p.name.empty() ? std::string() : p.name + " ") + "pid " + std::to_string(end.pid) + " ended";
      return r;
    }
    case metric::no_hang: {
      reading r{0, ""};
      const auto in = since_injection(o);
      for (const auto& p : o.probes) {
        const auto n = std::ranges::count_if(p.samples, [&](const sample& s) { return s.due_ns >= in.from_ns && s.timed_out; });
        if (n) r.value += static_cast<double>(n), r.reason += (r.reason.empty() ? "" : ", ") + std::to_string(n) + " of " + p.name;
      }
      return r;
    }
    case metric::opens_within: return failures_to_open(o, e.argument);
    case metric::half_opens_after: return open_to_half_open(o, e.argument, e.bound);
    case metric::no_calls_while_open: return calls_while_open(o, e.argument, e.second);
    case metric::recovers_within: {
      reading r{0, ""};
      for (const auto& p : o.probes) {
        if (!p.counts_for_recovery) continue;
        const double one = p.recovery_ns < 0 ? never : static_cast<double>(p.recovery_ns);
        if (one > r.value || r.reason.empty()) r.reason = p.name;
        r.value = std::max(r.value, one);
      }
      r.reason = o.probes.size() > 1 ? "the last was " + r.reason : "";
      return r;
    }
    default: return {nothing, ""};
  }
}

finding judged(const plan& plan, const outcome& o, const expectation& e) {
  finding f{e, finding_state::not_judged, nothing, ""};
  if (e.probe.empty()) {
    auto r = measure_whole(o, e);
    f.measured = r.value, f.reason = std::move(r.reason);
  } else if (const auto p = std::ranges::find(o.probes, e.probe, &probe_outcome::name); p != o.probes.end()) {
    f.measured = measure_probe(plan, o, *p, e, f.reason);
    if (p->windows[static_cast<int>(e.when)].samples == 0 && e.what != metric::recovers_within && e.what != metric::samples)
      f.reason = e.when == window::after && p->recovery_ns < 0 ? "it never recovered" : "there was not one request";
  }
  f.state = e.holds(f.measured) ? finding_state::pass : finding_state::fail;
  if (f.state == finding_state::pass) f.reason.clear();
  return f;
}

}  // namespace

double measure(const expectation& e, const probe_plan& p, std::span<const sample> some, const statistics& now) {
  switch (e.what) {
    case metric::success_rate: return now.success_rate();
    case metric::error_rate: return 1 - now.success_rate();
    case metric::timeout_rate: return share(static_cast<std::int64_t>(now.timed_out), now);
    case metric::fallback_ratio: return share(marked(some, p.fallback, true), now);
    case metric::mean: return now.mean_ns;
    case metric::p50: return now.p50_ns;
    case metric::p90: return now.p90_ns;
    case metric::p95: return now.p95_ns;
    case metric::p99: return now.p99_ns;
    case metric::max: return now.max_ns;
    case metric::throughput: return now.samples ? now.throughput() : nothing;
    case metric::samples: return static_cast<double>(now.samples);
    case metric::status: return share(std::ranges::count_if(some, [&](const sample& s) { return status_fits(s.status, e.argument); }), now);
    case metric::header: return share(marked(some, mark_of(p, {e.argument, e.second}), false), now);
    case metric::log_contains:
    case metric::log_lacks: return now.samples ? static_cast<double>(marked(some, mark_of(p, {"", e.argument}), false)) : nothing;
    default: return nothing;
  }
}

interval under_faults(const outcome& o) {
  const auto *inject = o.find(phase::inject), *clean = o.find(phase::clean_up);
  if (!inject) return {};
  return {inject->from_ns, clean ? clean->to_ns : o.phases.back().to_ns};
}

interval since_injection(const outcome& o) {
  const auto* inject = o.find(phase::inject);
  if (!inject) return {};
  return {inject->from_ns, o.phases.back().to_ns};
}

bool judge_baseline(const plan& p, outcome& o) {
  o.findings.clear();
  bool good = true;
  for (const auto& e : p.expectations) {
    if (e.when != window::baseline) continue;
    o.findings.push_back(judged(p, o, e));
    good = good && o.findings.back().state == finding_state::pass;
  }
  return good;
}

void judge(const plan& p, outcome& o) {
  judge_baseline(p, o);
  std::size_t failed = 0;
  std::string untested;
  for (const auto when : {window::during, window::after})
    for (const auto& e : p.expectations) {
      if (e.when != when) continue;
      auto f = judged(p, o, e);
      if (o.dry_run && e.what != metric::fired && e.what != metric::matched) f.state = finding_state::not_judged;
      if (f.state == finding_state::fail && e.what == metric::fired && f.measured == 0) untested += (untested.empty() ? "" : ", ") + e.argument;
      o.findings.push_back(std::move(f));
    }
  for (const auto& f : o.findings) failed += f.state == finding_state::fail;
  o.verdict = failed ? verdict::failed : o.dry_run ? verdict::dry_run : verdict::held;
  if (!untested.empty()) o.reason = "the hypothesis was not put to the test: " + untested + " never fired";
  else if (failed) o.reason = std::to_string(failed) + " of " + std::to_string(o.findings.size()) + " expectations were not met";
  else if (o.dry_run) o.reason = "nothing was injected; the faults would have fired";
  else o.reason = "all " + std::to_string(o.findings.size()) + " expectations were met";
}

std::string window_text(const finding& f) { return window_names[static_cast<int>(f.expected.when)]; }

std::string measured_text(const finding& f) {
  const auto& m = info_of(f.expected.what);
  if (m.form == form::some && !std::isnan(f.measured)) return f.measured > 0 ? "yes" : "no";
  if (m.form == form::none && f.measured == 0) return "none";
  return std::isnan(f.measured) ? "nothing" : human(m.unit, f.measured);
}

std::vector<slice> slices_of(const outcome& o, const probe_outcome& p, unsigned most) {
  std::int64_t end = 0;
  for (const auto& s : o.phases) end = std::max(end, s.to_ns);
  std::vector<slice> out;
  if (end <= 0) return out;
  const std::int64_t width = std::max<std::int64_t>(250'000'000, (end + most - 1) / most);
  std::vector<std::vector<sample>> parts(static_cast<std::size_t>((end + width - 1) / width));
  for (const auto& s : p.samples)
    if (s.due_ns >= 0 && s.due_ns < end) parts[static_cast<std::size_t>(s.due_ns / width)].push_back(s);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::int64_t from = static_cast<std::int64_t>(i) * width, to = std::min(from + width, end);
    out.push_back({from, to, statistics_of(parts[i], static_cast<double>(to - from) / 1e9)});
  }
  return out;
}

}  // namespace chaos::experiment
