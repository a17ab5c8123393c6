// chaos-ctl list: the rules of the session.
#include "../link.hpp"
#include "../pages.hpp"
#include "../rule_view.hpp"

namespace chaos::cli::commands {

int list(const invocation& from) {
  json answer;
  session_location where;
  if (const int status = ask(from, protocol::command::list, json::object(), answer, &where)) return status;
  if (from.json) {
    print_json(answer);
    return exits::done;
  }
  const json& rules = array_of(answer, "rules");
  if (rules.empty()) print("no rules\n");
  else {
    table t({">id", "name", "kind", "target", ">matched", ">fired", ">delayed", ">left", ""});
    bool silent = false;
    for (const auto& r : rules) {
      silent = silent || (number(r, "matched") == 0 && !rule_ended(r));
      t.row({std::to_string(number(r, "id")), text_of(r, "name"), text_of(r, "kind"), text_of(r, "target"), human_count(number(r, "matched")),
             human_count(number(r, "fired")), number(r, "delayed_ns") ? human_ns(number(r, "delayed_ns")) : "-", rule_life(r), rule_flags(r)});
    }
    print(t.text());
    if (silent) note("never matched: chaos-ctl doctor --rule ID says why");
  }
  if (const auto hint = elsewhere_hint(where); !hint.empty()) warn(hint);
  return exits::done;
}

}  // namespace chaos::cli::commands
