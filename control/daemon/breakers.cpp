// Breakers of targets: who they are (the report page says), and what they are told (through the rule page). Nothing of it
// is saved: commands end with the daemon.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "chaos/abi/breaker_commands.hpp"
#include "daemon.hpp"

namespace chaos::daemon {

using protocol::json;
using rules::problem;
using rules::problem_code;

namespace {

constexpr std::uint64_t counters_patience_ns = 30'000'000;  // for breakers in use to publish what they counted

// A page holds so much of a name.
std::string as_in_page(const std::string& name) { return name.substr(0, sizeof abi::breaker_slot::name - 1); }

}  // namespace

std::vector<reported_breaker> daemon::living_breakers() const {
  std::map<std::int32_t, std::uint64_t> attached;
  for (const attached_process& p : processes_.living()) attached[p.pid] = p.attached_ns;
  std::vector<reported_breaker> all = report_.breakers();
  std::erase_if(all, [&](const reported_breaker& b) {
    const auto at = attached.find(b.pid);
    // Without an attach slot (there were too many) only the pid itself can be asked.
    return at == attached.end() ? start_ticks_of(b.pid) == 0 : b.changed_ns < at->second;
  });
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return std::tie(a.name, a.pid) < std::tie(b.name, b.pid); });
  return all;
}

json daemon::breakers() const {
  std::map<std::string, std::string> orders;
  for (const breaker_order& o : page_.breaker_orders()) orders[o.name] = abi::breaker_command_name(o.command);
  std::map<std::int32_t, std::string> programs;
  for (const attached_process& p : processes_.living()) programs[p.pid] = processes::describe(p)["name"];
  json list = json::array(), commands = json::array();
  for (const reported_breaker& b : living_breakers()) {
    const auto order = orders.find(b.name);
    list.push_back({{"name", b.name}, {"pid", b.pid}, {"process", programs[b.pid]}, {"state", abi::breaker_state_name(b.state)},
                    {"command", order == orders.end() ? json() : json(order->second)}, {"calls_ok", b.calls_ok},
                    {"calls_failed", b.calls_failed}, {"rejected", b.rejected}, {"changed_ms", b.changed_ns / 1'000'000}});
  }
  for (const auto& [name, command] : orders) commands.push_back({{"name", name}, {"command", command}});
  return {{"breakers", list}, {"commands", commands}};
}

void daemon::breaker(client_id who, const json& body) {
  const json action = body.value("action", json()), name = body.value("name", json());
  std::vector<std::string> actions{"list"};
  for (const auto& row : abi::breaker_command_table) actions.emplace_back(row.name);
  if (!action.is_string())
    return answer(who, problem{problem_code::missing_word, "\"action\" does not say what to do with which breaker", "", actions});
  if (action == "list") {
    page_.ask_breakers();
    breaker_askers_.push_back(who);
    breaker_timer_.at(monotonic_ns() + counters_patience_ns);
    return;
  }
  const auto command = abi::find_breaker_command(action.get<std::string>());
  if (!command) return answer(who, rules::unknown_word(problem_code::unexpected_word, "breaker action", action.get<std::string>(), actions));

  std::set<std::string> living, known;
  const std::vector<reported_breaker> breakers = living_breakers();
  for (const reported_breaker& b : breakers) living.insert(b.name);
  known = living;
  for (const breaker_order& o : page_.breaker_orders()) known.insert(o.name);
  known.erase("");
  const std::vector<std::string> names(known.begin(), known.end());
  if (!name.is_string() || name == "")
    return answer(who, problem{problem_code::missing_word, "which breaker? \"name\" is missing", "", names});
  const std::string meant = as_in_page(name.get<std::string>());
  if (!known.count(meant)) {
    problem p = rules::unknown_word(problem_code::not_found, "breaker", name.get<std::string>(), names);
    if (names.empty()) p.message += ": no program with a breaker runs under the shim in this session";
    return answer(who, p);
  }
  if (!page_.order_breaker(meant, command->number, living))
    return answer(who, problem{problem_code::too_many, "there are commands for " + std::to_string(abi::rule_page::breaker_max) +
                                   " breakers already; `breaker none NAME` ends one", meant, {}});
  json pids = json::array();
  for (const reported_breaker& b : breakers)
    if (b.name == meant) pids.push_back(b.pid);
  spdlog::info("breaker {} '{}' (pid {})", command->name, meant, server_.peer_of(who).pid);
  answer(who, json{{"name", meant}, {"command", command->name}, {"pids", pids}});
}

void daemon::answer_breaker_askers() {
  const std::vector<client_id> askers = std::move(breaker_askers_);
  breaker_askers_.clear();
  const json all = breakers();
  for (const client_id who : askers) answer(who, all);
}

unsigned daemon::release_breakers(const char* why) {
  const unsigned n = page_.release_breakers();
  if (n) spdlog::info("{} breaker commands ended: {}", n, why);
  return n;
}

}  // namespace chaos::daemon
