// The names here are a promise: programs read them. Times are integers with their unit in the name; a number that could
// not be measured is null.
#include <cmath>
#include <nlohmann/json.hpp>

#include "outcome.hpp"

namespace chaos::experiment {

namespace {

using nlohmann::json;

json whole(double value) { return std::isfinite(value) ? json(static_cast<std::int64_t>(std::llround(value))) : json(); }
json real(double value) { return std::isfinite(value) ? json(value) : json(); }

json numbers(const statistics& s) {
  return {{"samples", s.samples}, {"good", s.good}, {"timed_out", s.timed_out}, {"success_rate", real(s.success_rate())}, {"throughput_per_s", real(s.throughput())},
          {"mean_ns", whole(s.mean_ns)}, {"p50_ns", whole(s.p50_ns)}, {"p90_ns", whole(s.p90_ns)}, {"p95_ns", whole(s.p95_ns)}, {"p99_ns", whole(s.p99_ns)},
          {"max_ns", whole(s.max_ns)}, {"answers", s.answers}};
}

}  // namespace

json json_of(const outcome& o) {
  json out{{"name", o.name}, {"hypothesis", o.hypothesis}, {"verdict", verdict_names[static_cast<int>(o.verdict)]}, {"reason", o.reason},
           {"dry_run", o.dry_run}, {"started_unix_ms", o.started_unix_ms}, {"notes", o.notes}};
  auto& phases = out["phases"] = json::array();
  for (const auto& p : o.phases) phases.push_back({{"phase", phase_names[static_cast<int>(p.what)]}, {"from_ms", p.from_ns / 1'000'000}, {"to_ms", p.to_ns / 1'000'000}});
  auto& probes = out["probes"] = json::array();
  for (const auto& p : o.probes) {
    json one{{"name", p.name}, {"recovery_ms", p.recovery_ns < 0 ? json() : json(p.recovery_ns / 1'000'000)}};
    for (int w = 0; w < 3; ++w) one[window_names[w]] = numbers(p.windows[w]);
    auto& series = one["series"] = json::array();
    for (const auto& s : slices_of(o, p))
      series.push_back({{"from_ms", s.from_ns / 1'000'000}, {"to_ms", s.to_ns / 1'000'000}, {"samples", s.numbers.samples}, {"good", s.numbers.good},
                        {"p50_ns", whole(s.numbers.p50_ns)}, {"p95_ns", whole(s.numbers.p95_ns)}, {"max_ns", whole(s.numbers.max_ns)}});
    probes.push_back(std::move(one));
  }
  auto& faults = out["faults"] = json::array();
  for (const auto& f : o.faults)
    faults.push_back({{"id", f.id}, {"name", f.name}, {"kind", f.kind}, {"target", f.target}, {"matched", f.matched}, {"fired", f.fired}, {"delayed_ns", f.delayed_ns}});
  auto& expectations = out["expectations"] = json::array();
  static constexpr const char* states[] = {"pass", "fail", "not judged"};
  for (const auto& f : o.findings)
    expectations.push_back({{"window", window_text(f)}, {"text", f.expected.text}, {"implied", f.expected.implied}, {"state", states[static_cast<int>(f.state)]},
                            {"metric", info_of(f.expected.what).name}, {"probe", f.expected.probe.empty() ? json() : json(f.expected.probe)},
                            {"measured", real(f.measured)}, {"bound", f.expected.bound}, {"measured_text", measured_text(f)}, {"reason", f.reason}});
  return out;
}

}  // namespace chaos::experiment
