#include "daemon_faults.hpp"

#include <unistd.h>

#include <algorithm>

#include "output.hpp"

namespace chaos::cli {

namespace ex = chaos::experiment;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr auto patience = std::chrono::seconds(5);

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

}  // namespace

result<std::vector<ex::fault_state>> daemon_faults::inject(std::span<const rules::rule_spec> specs, std::vector<std::string>& notes) {
  const auto there = rules_there();
  if (!there) return there.error();
  for (const auto& spec : specs)
    for (const auto& rule : *there)
      if (text_of(rule, "state") != "ended" && text_of(rule, "name") == spec.get(rules::option::name_))
        return problem{problem_code::failed, "a rule '" + text_of(rule, "name") + "' is in force already, perhaps of another experiment; chaos-ctl rm " + text_of(rule, "name") + " ends it", "", {}};
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
  std::vector<ex::fault_state> states;
  for (const auto& rule : *there)
    if (mine(rule)) states.push_back(state_of(rule));
  return states;
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
  return number(rule, "owner") == static_cast<std::uint64_t>(getpid()) && std::find(names_.begin(), names_.end(), text_of(rule, "name")) != names_.end();
}

}  // namespace chaos::cli
