// chaos-ctl ps: processes that the shim is attached to.
#include <algorithm>
#include <chrono>

#include "../link.hpp"
#include "../pages.hpp"
#include "../reach.hpp"
#include "../rule_view.hpp"

namespace chaos::cli::commands {

namespace {

// attached_ms is a moment of the monotonic clock, as all times in our JSON are.
std::string attached_since(std::uint64_t attached_ms) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  const auto ago = static_cast<std::uint64_t>(now) > attached_ms ? static_cast<std::uint64_t>(now) - attached_ms : 0;
  return human_ns((ago < 10'000 ? ago : ago / 1000 * 1000) * 1'000'000);
}

}  // namespace

int ps(const invocation& from) {
  json answer;
  session_location where;
  if (const int status = ask(from, protocol::command::ps, json::object(), answer, &where)) return status;
  for (auto& p : answer["processes"]) {  // and what can be seen only from outside
    json& limits = p["limits"];
    if (!limits.is_array()) limits = json::array();
    for (const std::string& seen : observed_limits(static_cast<pid_t>(number(p, "pid"))))
      if (std::ranges::find(limits, json(seen)) == limits.end()) limits.push_back(seen);
  }
  if (from.json) {
    print_json(answer);
    return exits::done;
  }
  const json& processes = array_of(answer, "processes");
  if (processes.empty()) print("no process is attached: start one with chaos-ctl run -- CMD\n");
  else {
    table t({">pid", "name", "executable", ">attached", ">functions", "can not"});
    for (const auto& p : processes) {
      std::string limits;
      for (const auto& l : array_of(p, "limits"))
        if (l.is_string()) limits += (limits.empty() ? "" : ", ") + l.get<std::string>();
      t.row({std::to_string(number(p, "pid")), text_of(p, "name"), text_of(p, "executable"), attached_since(number(p, "attached_ms")) + " ago",
             std::to_string(number(p, "functions")), limits});
    }
    print(t.text());
  }
  if (const auto hint = elsewhere_hint(where); !hint.empty()) warn(hint);
  return exits::done;
}

}  // namespace chaos::cli::commands
