// /metrics: what chaosd counts, in the text format of Prometheus. Rows of the tables become labels.
#include <map>

#include "chaos/abi/rule_page.hpp"
#include "control/schedule/files.hpp"
#include "exchange.hpp"

namespace chaos::http {

namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') out += "\\n";
    else out += c;
  }
  return out;
}

class page {
 public:
  void family(const char* name, const char* type, const char* help) {
    name_ = name;
    text += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
  }
  void sample(const json& value, std::initializer_list<std::pair<const char*, std::string>> labels = {}, const char* suffix = "") {
    text += name_ + suffix;
    const char* before = "{";
    for (const auto& [name, of] : labels) {
      text += std::string(before) + name + "=\"" + escaped(of) + "\"";
      before = ",";
    }
    if (labels.size()) text += "}";
    text += " " + (value.is_boolean() ? std::string(value == true ? "1" : "0") : value.dump()) + "\n";
  }
  std::string text;

 private:
  std::string name_;
};

std::string seconds(const json& ns) { return json(static_cast<double>(ns.get<std::uint64_t>()) / 1e9).dump(); }

void rules_of(page& p, const json& stats) {
  std::map<std::pair<std::string, std::string>, unsigned> states;
  for (const json& r : stats["rules"])
    if (r["state"] != "ended") ++states[{r["kind"].get<std::string>(), r["state"].get<std::string>()}];
  p.family("chaos_rules", "gauge", "Rules by kind and state.");
  for (const auto& [key, n] : states)
    p.sample(n, {{"kind", key.first}, {"state", key.second}});

  const std::pair<const char*, std::pair<const char*, const char*>> counters[] = {
      {"matched", {"chaos_matched_calls_total", "Calls that a rule applied to."}},
      {"fired", {"chaos_injections_total", "Injections, by kind of fault."}},
      {"bytes", {"chaos_matched_bytes_total", "Bytes that the matched calls moved."}}};
  for (const auto& [key, what] : counters) {
    p.family(what.first, "counter", what.second);
    for (const auto& [kind, totals] : stats["kinds"].items()) p.sample(totals[key], {{"kind", kind}});
  }
  p.family("chaos_delay_seconds", "histogram", "Delays that injections added, by kind of fault.");
  for (const auto& [kind, h] : stats["delays"].items()) {
    for (const json& bucket : h["buckets"]) p.sample(bucket["count"], {{"kind", kind}, {"le", seconds(bucket["le_ns"])}}, "_bucket");
    p.sample(h["count"], {{"kind", kind}, {"le", "+Inf"}}, "_bucket");
    p.sample(static_cast<double>(h["sum_ns"].get<std::uint64_t>()) / 1e9, {{"kind", kind}}, "_sum");
    p.sample(h["count"], {{"kind", kind}}, "_count");
  }
}

void session_of(page& p, const json& stats, const json& status) {
  p.family("chaos_up", "gauge", "The daemon answers.");
  p.sample(1, {{"version", status["version"].get<std::string>()}, {"session", status["session"].get<std::string>()}});
  p.family("chaos_lease_left_seconds", "gauge", "For so long rules stay in force if the daemon dies now.");
  const double left = static_cast<double>(status["lease_ms"].get<std::uint64_t>()) / 1e3;
  p.sample(left);
  p.family("chaos_lease_age_seconds", "gauge", "Time since the lease was renewed.");
  p.sample(std::max(0.0, static_cast<double>(abi::lease_ns) / 1e9 - left));
  p.family("chaos_attached_processes", "gauge", "Processes that the shim is attached to.");
  p.sample(stats["processes"].size());
  p.family("chaos_uptime_seconds", "gauge", "Since the daemon started.");
  p.sample(static_cast<double>(status["uptime_ms"].get<std::uint64_t>()) / 1e3);
  p.family("chaos_daemon_memory_bytes", "gauge", "Resident memory of the daemon.");
  p.sample(status["memory_kib"].get<std::uint64_t>() * 1024);
  p.family("chaos_events_total", "counter", "Events that the daemon has seen.");
  p.sample(stats["events"]);
  p.family("chaos_events_lost_total", "counter", "Events that the ring lost before the daemon saw them.");
  p.sample(stats["events_lost"]);
#define RULE_COUNTER(name, unit, meaning)
#define SESSION_COUNTER(name, unit, meaning)                    \
  p.family("chaos_" #name "_total", "counter", meaning ".");    \
  p.sample(stats[#name]);
#include "chaos/abi/counters.def"
#undef RULE_COUNTER
#undef SESSION_COUNTER
}

void breakers_of(page& p, const json& breakers) {
  std::map<std::string, unsigned> states;
  for (const char* state : {"closed", "open", "half_open"}) states[state] = 0;
  for (const json& b : breakers["breakers"]) ++states[b["state"].get<std::string>()];
  p.family("chaos_breakers", "gauge", "Circuit breakers by state.");
  for (const auto& [state, n] : states) p.sample(n, {{"state", state}});
  const std::pair<const char*, std::pair<const char*, const char*>> counters[] = {
      {"calls_ok", {"chaos_breaker_calls_ok_total", "Calls through a breaker that went well."}},
      {"calls_failed", {"chaos_breaker_calls_failed_total", "Calls through a breaker that failed."}},
      {"rejected", {"chaos_breaker_calls_rejected_total", "Calls that a breaker did not let through."}}};
  for (const auto& [key, what] : counters) {
    p.family(what.first, "counter", what.second);
    for (const json& b : breakers["breakers"]) p.sample(b[key], {{"breaker", b["name"].get<std::string>()}, {"pid", b["pid"].dump()}});
  }
}

void experiments_of(page& p, const json& experiments) {
  std::map<std::string, unsigned> states{{"running", 0}, {"paused", 0}, {"stopping", 0}};
  for (const json& e : experiments["experiments"])
    if (e["state"] != "ended") ++states[e["state"].get<std::string>()];
  p.family("chaos_experiments", "gauge", "Experiments by state.");
  for (const auto& [state, n] : states) p.sample(n, {{"state", state}});
  p.family("chaos_experiments_ended_total", "counter", "Experiments that ended, by verdict.");
  for (const auto& [verdict, n] : experiments["verdicts"].items()) p.sample(n, {{"verdict", verdict}});
  p.family("chaos_stopped", "gauge", "1 while the stop file is there.");
  p.sample(experiments["stopped"]);
}

void schedules_of(page& p, const std::vector<schedule::known_schedule>& known) {
  std::map<std::string, unsigned> states{{"running", 0}, {"ended", 0}, {"died", 0}};
  const auto in = [](const schedule::known_schedule& s, const char* key) { return s.record.is_object() ? s.record.value(key, json()) : json(); };
  for (const auto& s : known) ++states[s.running ? "running" : in(s, "state") == "ended" ? "ended" : "died"];
  p.family("chaos_schedules", "gauge", "Schedules by state; one that died left without a word.");
  for (const auto& [state, n] : states) p.sample(n, {{"state", state}});
  p.family("chaos_schedule_injections_total", "counter", "Injections of a schedule since it was started.");
  for (const auto& s : known)
    if (const json n = in(s, "injections"); n.is_number_unsigned()) p.sample(n, {{"schedule", s.name}});
  p.family("chaos_schedule_last_injection_timestamp_seconds", "gauge", "When a schedule injected last.");
  for (const auto& s : known)
    if (const json ms = in(s, "last_injection_unix_ms"); ms.is_number_integer()) p.sample(ms.get<double>() / 1e3, {{"schedule", s.name}});
}

}  // namespace

void handlers::metrics(exchange& x) {
  if (!x.shared.how.metrics) return x.refuse({rules::problem_code::not_found, "chaosd was started with metrics = false: there are none", "", {}});
  const auto stats = x.ask(protocol::command::stats);
  const auto status = stats ? x.ask(protocol::command::status) : std::nullopt;
  const auto breakers = status ? x.ask(protocol::command::breaker, {{"action", "list"}}) : std::nullopt;
  const auto experiments = breakers ? x.ask(protocol::command::experiment, {{"action", "list"}}) : std::nullopt;
  if (!experiments) return;
  page p;
  session_of(p, stats->result, status->result);
  rules_of(p, stats->result);
  breakers_of(p, breakers->result);
  experiments_of(p, experiments->result);
  schedules_of(p, schedule::known_schedules(x.shared.how.session_folder));
  x.response.set_content(p.text, "text/plain; version=0.0.4; charset=utf-8");
}

}  // namespace chaos::http
