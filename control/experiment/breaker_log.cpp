#include "breaker_log.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

namespace chaos::experiment {

namespace {

constexpr std::int64_t first_trial_ns = 20'000'000;  // a request that was due so shortly before half open may be its trial

bool means(const std::string& wanted, const std::string& breaker) { return wanted.empty() || wanted == breaker; }

std::string not_open(const std::string& breaker) { return breaker.empty() ? "no breaker opened" : "the breaker " + breaker + " did not open"; }

}  // namespace

std::optional<transition> transition_of(const timeline_event& e, std::int64_t began_ns) {
  if (e.kind != "annotation" || e.category != "breaker") return std::nullopt;
  const auto arrow = e.text.find(" -> ");
  const auto colon = arrow == std::string::npos ? arrow : e.text.rfind(": ", arrow);
  if (colon == std::string::npos) return std::nullopt;
  transition t;
  t.at_ns = e.time_ns - began_ns;
  t.pid = e.pid;
  t.breaker = e.text.substr(0, colon);
  t.from = e.text.substr(colon + 2, arrow - colon - 2);
  const std::string rest = e.text.substr(arrow + 4);
  const auto open = rest.find(" ("), close = rest.find(')');
  t.to = rest.substr(0, open);
  if (open != rest.npos && close != rest.npos) t.reason = rest.substr(open + 2, close - open - 2);
  if (const auto after = rest.find(" after "); after != rest.npos) t.failures = std::strtoull(rest.c_str() + after + 7, nullptr, 10);
  return t;
}

std::vector<open_time> open_times(const outcome& o, const std::string& breaker, std::int64_t end_ns) {
  std::vector<open_time> out;
  for (std::size_t i = 0; i < o.transitions.size(); ++i) {
    const auto& t = o.transitions[i];
    if (t.to != "open" || !means(breaker, t.breaker)) continue;
    const auto next = std::find_if(o.transitions.begin() + static_cast<std::ptrdiff_t>(i) + 1, o.transitions.end(), [&](const transition& n) { return n.pid == t.pid && n.breaker == t.breaker; });
    out.push_back({t.breaker, t.pid, t.at_ns, next == o.transitions.end() ? end_ns : next->at_ns});
  }
  return out;
}

std::vector<band> breaker_bands(const outcome& o, std::int64_t end_ns) {
  std::map<std::pair<std::string, int>, band> now;
  std::vector<band> out;
  for (const auto& t : o.transitions) {
    const auto [at, fresh] = now.try_emplace({t.breaker, t.pid}, band{"breaker", t.breaker, t.from, 0, t.at_ns});
    if (!fresh) at->second.to_ns = t.at_ns;
    out.push_back(at->second);
    at->second = {"breaker", t.breaker, t.to, t.at_ns, end_ns};
  }
  for (const auto& [who, last] : now) out.push_back(last);
  std::erase_if(out, [](const band& b) { return b.to_ns <= b.from_ns; });
  return out;
}

reading failures_to_open(const outcome& o, const std::string& breaker) {
  const auto in = since_injection(o);
  reading r{nothing, ""};
  for (const auto& t : o.transitions) {
    if (t.from != "closed" || t.to != "open" || !means(breaker, t.breaker) || t.at_ns < in.from_ns || t.at_ns > in.to_ns) continue;
    if (std::isnan(r.value) || static_cast<double>(t.failures) > r.value) r = {static_cast<double>(t.failures), t.breaker + " opened by " + t.reason};
  }
  if (std::isnan(r.value)) return {never, not_open(breaker)};
  return r;
}

reading open_to_half_open(const outcome& o, const std::string& breaker, double expected_ns) {
  const auto in = since_injection(o);
  reading r{nothing, not_open(breaker)};
  for (const auto& open : open_times(o, breaker, in.to_ns)) {
    if (open.from_ns < in.from_ns) continue;
    const auto next = std::ranges::find_if(o.transitions, [&](const transition& t) { return t.pid == open.pid && t.breaker == open.breaker && t.at_ns == open.to_ns; });
    if (next == o.transitions.end() || next->to != "half_open") {
      if (std::isnan(r.value)) r.reason = open.breaker + " opened and was not half open before the end";
      continue;
    }
    const auto took = static_cast<double>(open.to_ns - open.from_ns);
    if (std::isnan(r.value) || std::abs(took - expected_ns) > std::abs(r.value - expected_ns)) r = {took, open.breaker};
  }
  return r;
}

reading calls_while_open(const outcome& o, const std::string& breaker, const std::string& fault) {
  const auto in = since_injection(o);
  const auto open = open_times(o, breaker, in.to_ns);
  if (open.empty()) return {nothing, not_open(breaker)};
  reading r{0, ""};
  for (const auto& c : o.calls) {
    if (!means(fault, c.fault)) continue;
    const bool wrong = std::ranges::any_of(open, [&](const open_time& t) { return (c.pid == 0 || c.pid == t.pid) && c.at_ns >= t.from_ns + under_way_ns && c.at_ns < t.to_ns; });
    if (wrong) r.value += static_cast<double>(c.count), r.reason = "calls that " + c.fault + " met";
  }
  return r;
}

reading latency_while_open(const outcome& o, const probe_outcome& p, const std::string& breaker) {
  const auto in = since_injection(o);
  const auto open = open_times(o, breaker, in.to_ns);
  if (open.empty()) return {nothing, not_open(breaker)};
  std::vector<std::int64_t> latencies;
  for (const auto& s : p.samples)
    if (s.due_ns >= in.from_ns && std::ranges::any_of(open, [&](const open_time& t) { return s.due_ns >= t.from_ns && s.due_ns < t.to_ns - first_trial_ns; }))
      latencies.push_back(s.latency_ns);
  std::ranges::sort(latencies);
  return {percentile_of(latencies, 0.95), latencies.empty() ? "there was not one request meanwhile" : ""};
}

}  // namespace chaos::experiment
