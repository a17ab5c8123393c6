#include "experiment_session.hpp"

#include <poll.h>
#include <unistd.h>

#include "output.hpp"

namespace chaos::cli {

namespace ex = chaos::experiment;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

ex::timeline_event event_of(std::string line) {
  ex::timeline_event e;
  const json o = json::parse(line, nullptr, false);
  if (o.is_object()) {
    e.time_ns = static_cast<std::int64_t>(number(o, "time_ns"));
    e.pid = static_cast<int>(number(o, "pid"));
    e.kind = flag_of(o, "aggregated") ? "injection" : text_of(o, "kind");
    e.category = text_of(o, "category");
    e.text = text_of(o, "text");
    e.rule = text_of(o, "rule_name");
    e.count = number(o, "count", 1);
  }
  e.line = std::move(line);
  return e;
}

}  // namespace

result<json> experiment_session::ask_daemon(protocol::command what, json arguments) const {
  auto link = protocol::client::connect(where_.folder);
  if (!link) return link.error();
  auto answer = link->call(what, std::move(arguments), patience);
  if (!answer) return answer.error();
  return std::move(answer->result);
}

result<rules::done> experiment_session::stress(const ex::stress_plan& what) {
  auto plan = stress::plan_from_words(what.words);
  if (!plan) return plan.error();
  plan->length = what.length;
  auto started = stress::running::start(*plan, getpid());
  if (!started) return started.error();
  stresses_[what.name] = std::make_unique<stress::running>(std::move(*started));
  return rules::done{};
}

std::vector<std::string> experiment_session::end_stress() {
  std::vector<std::string> names;
  for (auto& [name, one] : stresses_) {
    one->stop();
    names.push_back(name);
  }
  for (auto& [name, one] : stresses_) one->wait();
  stresses_.clear();
  return names;
}

std::vector<ex::ended_stress> experiment_session::look_stress() {
  std::vector<ex::ended_stress> ended;
  for (auto at = stresses_.begin(); at != stresses_.end();) {
    pollfd over{at->second->descriptor(), POLLIN, 0};
    if (poll(&over, 1, 0) <= 0) {
      ++at;
      continue;
    }
    const auto how = at->second->wait();
    ended.push_back({at->first, how == stress::ending::time_up ? "" : std::string(stress::ending_names[static_cast<int>(how)]) + (at->second->said().empty() ? "" : ": " + at->second->said())});
    at = stresses_.erase(at);
  }
  return ended;
}

void experiment_session::read_events(std::vector<ex::timeline_event>& into) {
  if (!timeline_) {
    if (watching_) return;  // the daemon went away: the next look at the faults says so
    watching_ = true;
    auto link = protocol::client::connect(where_.folder);
    if (!link || !link->call(protocol::command::watch, {{"last", 0}}, patience)) return;
    timeline_ = std::make_unique<protocol::client>(std::move(*link));
  }
  while (auto line = timeline_->read_line(std::chrono::milliseconds(0))) into.push_back(event_of(std::move(*line)));
  if (timeline_->closed()) timeline_.reset();
}

result<std::vector<int>> experiment_session::attached() {
  const auto answer = ask_daemon(protocol::command::ps, json::object());
  if (!answer) return answer.error();
  std::vector<int> pids;
  for (const auto& p : array_of(*answer, "processes")) pids.push_back(static_cast<int>(number(p, "pid")));
  return pids;
}

result<double> experiment_session::counter(const std::string& rule, const std::string& name) {
  const auto answer = ask_daemon(protocol::command::stats, json::object());
  if (!answer) return answer.error();
  const json* from = rule.empty() ? &*answer : nullptr;
  for (const auto& r : array_of(*answer, "rules"))
    if (!rule.empty() && text_of(r, "name") == rule && (!from || number(r, "id") > number(*from, "id"))) from = &r;
  if (!from) return problem{problem_code::not_found, "there is no rule '" + rule + "'", rule, {}};
  const auto found = from->find(name);
  if (found == from->end() || !found->is_number()) return problem{problem_code::not_found, "there is no counter '" + name + "'", name, {}};
  return found->get<double>();
}

result<std::vector<ex::breaker_now>> experiment_session::breakers() {
  const auto answer = ask_daemon(protocol::command::breaker, {{"action", "list"}});
  if (!answer) return answer.error();
  std::vector<ex::breaker_now> all;
  for (const auto& b : array_of(*answer, "breakers")) all.push_back({text_of(b, "name"), text_of(b, "state"), static_cast<int>(number(b, "pid"))});
  return all;
}

}  // namespace chaos::cli
