// chaos-ctl stats: counters of the rules, the processes and the session.
#include "../link.hpp"
#include "../pages.hpp"
#include "../rule_view.hpp"

namespace chaos::cli::commands {

int stats(const invocation& from) {
  json answer;
  session_location where;
  if (const int status = ask(from, protocol::command::stats, json::object(), answer, &where)) return status;
  if (from.json) {
    print_json(answer);
    return exits::done;
  }
  table t({">id", "name", ">matched", ">fired", ">share", ">delayed", ">bytes", ">left", ""});
  for (const auto& r : array_of(answer, "rules")) {
    const auto matched = number(r, "matched"), fired = number(r, "fired");
    char share[32] = "-";
    if (matched) std::snprintf(share, sizeof share, "%.1f%%", 100.0 * static_cast<double>(fired) / static_cast<double>(matched));
    t.row({std::to_string(number(r, "id")), text_of(r, "name"), human_count(matched), human_count(fired), share,
           number(r, "delayed_ns") ? human_ns(number(r, "delayed_ns")) : "-", human_bytes(number(r, "bytes")), rule_life(r), rule_flags(r)});
  }
  print(t.text());
  print("attached processes: " + std::to_string(array_of(answer, "processes").size()) + ", events lost: " + human_count(number(answer, "events_lost")) + "\n");
  if (const auto hint = elsewhere_hint(where); !hint.empty()) warn(hint);
  return exits::done;
}

}  // namespace chaos::cli::commands
