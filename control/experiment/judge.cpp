#include <algorithm>
#include <cmath>
#include <limits>

#include "outcome.hpp"

namespace chaos::experiment {

namespace {

constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
constexpr double never = std::numeric_limits<double>::infinity();

double ratio(double now, double before) { return before > 0 ? now / before : nothing; }

double share(std::uint64_t some, const statistics& s) { return s.samples ? static_cast<double>(some) / static_cast<double>(s.samples) : nothing; }

std::vector<sample> samples_in(const outcome& o, const probe_outcome& p, window w) {
  const auto* span = o.find(w == window::baseline ? phase::baseline : w == window::during ? phase::observe : phase::after);
  return span ? between(p.samples, span->from_ns, span->to_ns) : std::vector<sample>{};
}

bool status_fits(int status, const std::string& wanted) {
  const std::string text = std::to_string(status);
  return text == wanted || (wanted.ends_with("xx") && text.size() == 3 && text[0] == wanted[0]);
}

double measure_probe(const plan& plan, const outcome& o, const probe_outcome& p, const expectation& e) {
  const auto& now = p.windows[static_cast<int>(e.when)];
  const auto& base = p.windows[0];
  switch (e.what) {
    case metric::success_rate: return now.success_rate();
    case metric::error_rate: return 1 - now.success_rate();
    case metric::timeout_rate: return share(now.timed_out, now);
    case metric::mean: return now.mean_ns;
    case metric::p50: return now.p50_ns;
    case metric::p90: return now.p90_ns;
    case metric::p95: return now.p95_ns;
    case metric::p99: return now.p99_ns;
    case metric::max: return now.max_ns;
    case metric::throughput: return now.samples ? now.throughput() : nothing;
    case metric::samples: return static_cast<double>(now.samples);
    case metric::latency_factor: return ratio(now.p50_ns, base.p50_ns);
    case metric::p95_factor: return ratio(now.p95_ns, base.p95_ns);
    case metric::p99_factor: return ratio(now.p99_ns, base.p99_ns);
    case metric::throughput_factor: return now.samples ? ratio(now.throughput(), base.throughput()) : nothing;
    case metric::recovery: return p.recovery_ns < 0 ? never : static_cast<double>(p.recovery_ns);
    case metric::status: {
      const auto some = samples_in(o, p, e.when);
      return share(static_cast<std::uint64_t>(std::ranges::count_if(some, [&](const sample& s) { return status_fits(s.status, e.argument); })), now);
    }
    case metric::header: {
      const auto& headers = std::ranges::find(plan.probes, p.name, &probe_plan::name)->headers;
      const auto at = std::ranges::find(headers, std::pair{e.argument, e.header_value}) - headers.begin();
      const auto some = samples_in(o, p, e.when);
      return share(static_cast<std::uint64_t>(std::ranges::count_if(some, [&](const sample& s) { return s.headers >> at & 1; })), now);
    }
    case metric::fired:
    case metric::matched:
    case metric::total: break;
  }
  return nothing;
}

finding judged(const plan& plan, const outcome& o, const expectation& e) {
  finding f{e, finding_state::not_judged, nothing, ""};
  if (e.what == metric::fired || e.what == metric::matched) {
    const auto fault = std::ranges::find(o.faults, e.argument, &fault_state::name);
    f.measured = fault == o.faults.end() ? 0 : static_cast<double>(e.what == metric::fired ? fault->fired : fault->matched);
    if (fault != o.faults.end() && fault->fired == 0)
      f.reason = fault->matched ? "it matched " + std::to_string(fault->matched) + " calls and never fired: the hypothesis was not put to the test"
                                : "not one call reached it: the hypothesis was not put to the test (chaos-ctl doctor --rule " + std::to_string(fault->id) + " says why)";
  } else if (e.probe.empty()) {  // recovery of all
    f.measured = 0;
    for (const auto& p : o.probes) {
      const double one = measure_probe(plan, o, p, e);
      if (one > f.measured || f.reason.empty()) f.reason = p.name;
      f.measured = std::max(f.measured, one);
    }
    f.reason = o.probes.size() > 1 ? "the last was " + f.reason : "";
  } else {
    const auto p = std::ranges::find(o.probes, e.probe, &probe_outcome::name);
    if (p != o.probes.end()) {
      f.measured = measure_probe(plan, o, *p, e);
      if (p->windows[static_cast<int>(e.when)].samples == 0 && e.what != metric::recovery && e.what != metric::samples)
        f.reason = e.when == window::after && p->recovery_ns < 0 ? "it never recovered" : "there was not one request";
    }
  }
  f.state = e.holds(f.measured) ? finding_state::pass : finding_state::fail;
  if (f.state == finding_state::pass) f.reason.clear();
  return f;
}

}  // namespace

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
  return std::isnan(f.measured) ? "nothing" : human(info_of(f.expected.what).unit, f.measured);
}

std::vector<slice> slices_of(const outcome& o, const probe_outcome& p, unsigned most) {
  std::int64_t end = 0;
  for (const auto& s : o.phases) end = std::max(end, s.to_ns);
  std::vector<slice> out;
  if (end <= 0) return out;
  const std::int64_t width = std::max<std::int64_t>(250'000'000, (end + most - 1) / most);
  for (std::int64_t from = 0; from < end; from += width) {
    const std::int64_t to = std::min(from + width, end);
    out.push_back({from, to, statistics_of(between(p.samples, from, to), static_cast<double>(to - from) / 1e9)});
  }
  return out;
}

}  // namespace chaos::experiment
