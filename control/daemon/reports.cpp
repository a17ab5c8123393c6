// Requests that only ask.
#include <algorithm>
#include <cstdio>
#include <fstream>

#include "daemon.hpp"

#ifndef CHAOS_VERSION
#define CHAOS_VERSION "0"
#endif

namespace chaos::daemon {

using protocol::json;
using rules::result;

namespace {

std::uint64_t resident_kib() {
  std::ifstream in("/proc/self/statm");
  std::uint64_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) / 1024;
}

}  // namespace

json daemon::list() const {
  json out = json::array();
  for (const auto& [id, r] : rules_.live()) out.push_back(rules_.describe(r));
  for (const ended_rule& r : rules_.ended()) out.push_back(rules_.describe(r));
  return {{"rules", out}};
}

json daemon::ps() const {
  json out = json::array();
  for (const attached_process& p : processes_.living()) out.push_back(processes::describe(p));
  return {{"processes", out}, {"missing", missing_}};
}

json daemon::stats() const {
  json out = list();
  out["processes"] = ps()["processes"];
  out["kinds"] = rules_.totals();
  out["delays"] = delays_.describe();
  out["events"] = drain_.taken() + own_events_;
  out["events_lost"] = drain_.lost();
  out["timeline_unwritten"] = timeline_.unwritten();
  const session_values s = report_.session();
#define RULE_COUNTER(name, unit, meaning)
#define SESSION_COUNTER(name, unit, meaning) out[#name] = s.name;
#include "chaos/abi/counters.def"
#undef RULE_COUNTER
#undef SESSION_COUNTER
  out["events_published"] = report_.ring_head() + own_events_;
  return out;
}

json daemon::status() const {
  std::size_t paused = 0;
  for (const auto& [id, r] : rules_.live()) paused += r.paused();
  json out{{"pid", getpid()}, {"version", CHAOS_VERSION}, {"protocol", protocol::version}, {"abi", abi::abi_version},
           {"session", where_.session}, {"folder", where_.folder}, {"lease_ms", page_.lease_left_ns() / 1'000'000}, {"http", http_.empty() ? json() : json(http_)},
           {"uptime_ms", (monotonic_ns() - started_ns_) / 1'000'000}, {"rules", rules_.live().size()}, {"paused", paused},
           {"processes", processes_.living().size()}, {"clients", server_.clients()}, {"watchers", server_.watchers()}, {"stack_watchers", stack_watchers_.size()}, {"seed", rules_.seed()},
           {"generation", page_.page().generation.load()}, {"armed_classes", page_.page().armed_classes.load()},
           {"events", drain_.taken() + own_events_}, {"events_lost", drain_.lost()}, {"timeline_unwritten", timeline_.unwritten()},
           {"memory_kib", resident_kib()}, {"notes", notes_}};
  const abi::sink_ports& p = sinks_.ports();
  out["sinks"] = {{"refuse_v4", p.refuse_v4}, {"refuse_v6", p.refuse_v6}, {"blackhole_v4", p.blackhole_v4}, {"blackhole_v6", p.blackhole_v6}};
  if (!rules_.unsaved().empty()) out["notes"].push_back(rules_.unsaved());
  return out;
}

json daemon::events(const json& body) const {
  std::size_t last = timeline::recent_max;
  if (const json n = body.value("last", json()); n.is_number_unsigned()) last = n.get<std::size_t>();
  const auto& recent = timeline_.recent();
  json out = json::array();
  for (std::size_t i = recent.size() - std::min(recent.size(), last); i < recent.size(); ++i)
    out.push_back(json::parse(recent[i], nullptr, false));
  return {{"events", out}};
}

result<json> daemon::save() const {
  std::vector<rules::rule_spec> specs;
  for (const auto& [id, r] : rules_.live()) {
    if (r.compiled.rule.run != 0) continue;  // those end with their run
    specs.push_back(r.spec);
    specs.back().options[rules::option::name_] = r.compiled.name;
  }
  auto text = rules::ini_of(specs);
  if (!text) return text.error();
  return json{{"ini", *text}, {"rules", specs.size()}};
}

}  // namespace chaos::daemon
