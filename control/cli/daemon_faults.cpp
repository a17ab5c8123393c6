#include "daemon_faults.hpp"

#include <unistd.h>

#include <algorithm>
#include <map>

#include "output.hpp"

namespace chaos::cli {

namespace ex = chaos::experiment;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

ex::fault_state state_of(const json& rule) {
  ex::fault_state s;
  s.id = number(rule, "id");
  s.name = text_of(rule, "name");
  s.kind = text_of(rule, "kind");
  s.target = text_of(rule, "target");
  s.matched = number(rule, "matched");
  s.fired = number(rule, "fired");
  s.delayed_ns = number(rule, "delayed_ns");
  s.ended = text_of(rule, "state") == "ended";
  s.ended_reason = text_of(rule, "ended_reason", "no reason told");
  return s;
}

problem taken(const std::string& name) {
  return {problem_code::failed, "a rule '" + name + "' is in force already, perhaps of another experiment; chaos-ctl rm " + name + " ends it", "", {}};
}

}  // namespace

result<std::vector<ex::fault_state>> daemon_faults::inject(std::span<const rules::rule_spec> specs, std::vector<std::string>& notes) {
  const auto there = rules_there();
  if (!there) return there.error();
  if (names_.empty())
    for (const auto& rule : *there) before_ = std::max(before_, number(rule, "id"));
  for (const auto& spec : specs)
    for (const auto& rule : *there)
      if (text_of(rule, "state") != "ended" && text_of(rule, "name") == spec.get(rules::option::name_) && !mine(rule))
        return taken(text_of(rule, "name"));
  const auto ini = rules::ini_of(specs);
  if (!ini) return ini.error();
  for (const auto& spec : specs) names_.push_back(spec.get(rules::option::name_));
  auto answer = ask_daemon(protocol::command::apply, {{"ini", *ini}});
  if (!answer) return answer.error();
  notes.insert(notes.end(), answer->warnings.begin(), answer->warnings.end());
  std::vector<ex::fault_state> states;
  for (const auto& rule : array_of(answer->result, "rules")) states.push_back(state_of(rule));
  return states;
}

result<std::vector<ex::fault_state>> daemon_faults::look() {
  const auto there = rules_there();
  if (!there) return there.error();
  std::map<std::uint64_t, ex::fault_state> by_id;
  for (const auto& rule : *there)
    if (mine(rule)) by_id[number(rule, "id")] = state_of(rule);
  std::vector<ex::fault_state> states;
  for (auto& [id, now] : by_id) {  // a rule that replaced another goes on counting
    const auto earlier = std::find_if(states.begin(), states.end(), [&now](const ex::fault_state& s) { return s.name == now.name; });
    if (earlier == states.end()) {
      states.push_back(std::move(now));
      continue;
    }
    now.matched += earlier->matched, now.fired += earlier->fired, now.delayed_ns += earlier->delayed_ns;
    *earlier = std::move(now);
  }
  return states;
}

result<rules::done> daemon_faults::reserve(std::span<const std::string> names) {
  const auto there = rules_there();
  if (!there) return there.error();
  for (const auto& rule : *there)
    if (text_of(rule, "state") != "ended" && std::find(names.begin(), names.end(), text_of(rule, "name")) != names.end()) return taken(text_of(rule, "name"));
  return rules::done{};
}

result<rules::done> daemon_faults::remove() {
  const auto there = rules_there();
  if (!there) return there.error();
  json ids = json::array();
  for (const auto& rule : *there)
    if (mine(rule) && text_of(rule, "state") != "ended") ids.push_back(std::to_string(number(rule, "id")));
  if (ids.empty()) return rules::done{};
  const auto answer = ask_daemon(protocol::command::rm, {{"words", ids}});
  if (!answer) return answer.error();
  return rules::done{};
}

result<protocol::reply> daemon_faults::ask_daemon(protocol::command what, json arguments) {
  auto link = protocol::client::connect(where_.folder);
  if (!link) return link.error();
  return link->call(what, std::move(arguments), patience);
}

result<json> daemon_faults::rules_there() {
  auto answer = ask_daemon(protocol::command::list, json::object());
  if (!answer) return answer.error();
  return array_of(answer->result, "rules");
}

// By owner and name: also when the answer to apply, with the ids, was lost.
bool daemon_faults::mine(const json& rule) const {
  return number(rule, "id") > before_ && number(rule, "owner") == static_cast<std::uint64_t>(getpid()) && std::find(names_.begin(), names_.end(), text_of(rule, "name")) != names_.end();
}

}  // namespace chaos::cli
