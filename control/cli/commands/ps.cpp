// chaos-ctl ps: processes that the shim is attached to.
#include <chrono>

#include "../link.hpp"
#include "../pages.hpp"
#include "../rule_view.hpp"

namespace chaos::cli::commands {

int ps(const invocation& from) {
  json answer;
  session_location where;
  if (const int status = ask(from, protocol::command::ps, json::object(), answer, &where)) return status;
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
      t.row({std::to_string(number(p, "pid")), text_of(p, "name"), text_of(p, "executable"), human_ns(number(p, "attached_ms") * 1'000'000) + " ago",
             std::to_string(number(p, "functions")), limits});
    }
    print(t.text());
  }
  if (const auto hint = elsewhere_hint(where); !hint.empty()) warn(hint);
  return exits::done;
}

}  // namespace chaos::cli::commands
