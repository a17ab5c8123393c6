// The names here are a promise: programs read them. Times are integers with their unit in the name; a number that could
// not be measured is null.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "report.hpp"

namespace chaos::experiment {

using nlohmann::json;

namespace {

json whole(double value) { return std::isfinite(value) ? json(static_cast<std::int64_t>(std::llround(value))) : json(); }
json real(double value) { return std::isfinite(value) ? json(value) : json(); }
std::int64_t in_ms(std::int64_t ns) { return ns / 1'000'000; }

json numbers(const statistics& s) {
  json histogram = json::array();
  for (const auto& [upper, n] : s.latencies.buckets()) histogram.push_back({upper, n});
  return {{"samples", s.samples}, {"good", s.good}, {"timed_out", s.timed_out}, {"success_rate", real(s.success_rate())}, {"throughput_per_s", real(s.throughput())},
          {"mean_ns", whole(s.mean_ns)}, {"p50_ns", whole(s.p50_ns)}, {"p90_ns", whole(s.p90_ns)}, {"p95_ns", whole(s.p95_ns)}, {"p99_ns", whole(s.p99_ns)},
          {"max_ns", whole(s.max_ns)}, {"answers", s.answers}, {"latency_histogram", histogram}};
}

json probes_of(const outcome& o) {
  json probes = json::array();
  for (const auto& p : o.probes) {
    json one{{"name", p.name}, {"load", p.load}, {"recovery_ms", p.recovery_ns < 0 ? json() : json(in_ms(p.recovery_ns))}};
    for (int w = 0; w < 3; ++w) one[window_names[w]] = numbers(p.windows[w]);
    auto& series = one["series"] = json::array();
    for (const auto& s : slices_of(o, p))
      series.push_back({{"from_ms", in_ms(s.from_ns)}, {"to_ms", in_ms(s.to_ns)}, {"samples", s.numbers.samples}, {"good", s.numbers.good},
                        {"p50_ns", whole(s.numbers.p50_ns)}, {"p95_ns", whole(s.numbers.p95_ns)}, {"p99_ns", whole(s.numbers.p99_ns)}, {"max_ns", whole(s.numbers.max_ns)}});
    probes.push_back(std::move(one));
  }
  return probes;
}

json processes_of(const outcome& o) {
  json processes = json::array();
  for (const auto& p : o.processes) {
    json one{{"name", p.name.empty() ? json() : json(p.name)}, {"series", json::array()}, {"ended", json::array()}};
    for (const auto& u : p.usages) one["series"].push_back({{"at_ms", in_ms(u.at_ns)}, {"cpu", real(u.cpu)}, {"memory", real(u.memory)}});
    for (const auto& e : p.ended) one["ended"].push_back({{"at_ms", in_ms(e.at_ns)}, {"pid", e.pid}});
    processes.push_back(std::move(one));
  }
  return processes;
}

}  // namespace

json json_of(const outcome& o) {
  json out{{"name", o.name}, {"hypothesis", o.hypothesis}, {"verdict", verdict_names[static_cast<int>(o.verdict)]}, {"reason", o.reason},
           {"dry_run", o.dry_run}, {"started_unix_ms", o.started_unix_ms}, {"notes", o.notes}, {"probes", probes_of(o)}, {"processes", processes_of(o)}};
  auto& phases = out["phases"] = json::array();
  for (const auto& p : o.phases) phases.push_back({{"phase", phase_names[static_cast<int>(p.what)]}, {"from_ms", in_ms(p.from_ns)}, {"to_ms", in_ms(p.to_ns)}});
  auto& faults = out["faults"] = json::array();
  for (const auto& f : o.faults)
    faults.push_back({{"id", f.id}, {"name", f.name}, {"kind", f.kind}, {"target", f.target}, {"matched", f.matched}, {"fired", f.fired}, {"delayed_ns", f.delayed_ns}});
  auto& bands = out["bands"] = json::array();
  for (const auto& b : o.bands) bands.push_back({{"of", b.of}, {"name", b.name}, {"text", b.text}, {"from_ms", in_ms(b.from_ns)}, {"to_ms", in_ms(b.to_ns)}});
  auto& transitions = out["transitions"] = json::array();
  for (const auto& t : o.transitions)
    transitions.push_back({{"at_ms", in_ms(t.at_ns)}, {"pid", t.pid}, {"breaker", t.breaker}, {"from", t.from}, {"to", t.to}, {"reason", t.reason}, {"failures", t.failures}});
  auto& expectations = out["expectations"] = json::array();
  static constexpr const char* states[] = {"pass", "fail", "not judged"};
  for (const auto& f : o.findings)
    expectations.push_back({{"window", window_text(f)}, {"text", f.expected.text}, {"implied", f.expected.implied}, {"state", states[static_cast<int>(f.state)]},
                            {"metric", info_of(f.expected.what).name}, {"probe", f.expected.probe.empty() ? json() : json(f.expected.probe)},
                            {"measured", real(f.measured)}, {"bound", f.expected.bound}, {"measured_text", measured_text(f)}, {"reason", f.reason}});
  return out;
}

rules::result<json> report_from(const std::string& text) { return checked_report(json::parse(text, nullptr, false)); }

rules::result<json> checked_report(json report) {
  const auto wrong = [](const std::string& what) {
    return rules::problem{rules::problem_code::bad_value, "this is not a report of an experiment (" + what + "); --report FILE.json of `experiment run` writes one", "", {}};
  };
  if (!report.is_object()) return wrong("no JSON object");
  // whatever is missing is taken from an empty report, whatever has another type is refused
  const json whole = json_of(outcome{});
  for (const auto& [key, value] : whole.items()) {
    if (!report.contains(key)) return wrong("it has no \"" + key + "\"");
    if (report[key].type() != value.type() && !(report[key].is_number() && value.is_number())) return wrong("\"" + key + "\" is of another type");
  }
  const auto rows = [&](const char* list, std::initializer_list<const char*> keys) {
    for (const auto& row : report[list])
      for (const char* key : keys)
        if (!row.is_object() || !row.contains(key)) return false;
    return true;
  };
  if (!rows("expectations", {"window", "text", "state", "measured_text", "reason"})) return wrong("its expectations are not whole");
  if (!rows("probes", {"name", "baseline", "during", "after", "series"})) return wrong("its probes are not whole");
  if (!rows("faults", {"name", "kind", "target", "matched", "fired"}) || !rows("phases", {"phase", "from_ms", "to_ms"})) return wrong("its faults or phases are not whole");
  return report;
}

std::string json_text_of(const json& report) { return report.dump(1, ' ', false, json::error_handler_t::replace) + "\n"; }

std::span<const report_form> report_forms() {
  static constexpr report_form forms[] = {
#define REPORT_FORM(name, ending, type, text, meaning) {#name, ending, type, text},
#include "report_forms.def"
#undef REPORT_FORM
  };
  return forms;
}

std::string headline_of(const json& report) {
  const std::string verdict = report["verdict"];
  if (verdict == verdict_names[static_cast<int>(verdict::held)]) return "PASS: the hypothesis held";
  if (verdict == verdict_names[static_cast<int>(verdict::failed)]) return "FAIL: the hypothesis failed";
  return verdict;
}

std::string answers_of(const json& window) {
  std::string out;
  for (const auto& [what, n] : window.at("answers").items()) out += (out.empty() ? "" : ", ") + what + ": " + n.dump();
  return out;
}

std::string shown(const json& value, unit u) { return human(u, value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN()); }

}  // namespace chaos::experiment
