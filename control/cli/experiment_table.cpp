#include "experiment_table.hpp"

#include "link.hpp"
#include "output.hpp"
#include "rule_view.hpp"

namespace chaos::cli {

namespace {

std::string shown_state(const json& e) {
  const std::string state = text_of(e, "state"), verdict = text_of(e, "verdict");
  if (state != "ended") return paint(state == "running" ? ink::green : ink::yellow, state) + (flag_of(e, "dry_run") ? " (dry run)" : "");
  return verdict + (flag_of(e, "dry_run") && verdict != "dry run" ? " (dry run)" : "");
}

std::string names_in(const json& e, const char* key) {
  std::string out;
  for (const json& name : array_of(e, key))
    if (name.is_string()) out += (out.empty() ? "" : ", ") + name.get<std::string>();
  return out;
}

std::string shown_list(const json& answer) {
  table rows({">id", "name", "state", "phase", ">pid", ">took", "reason"});
  for (const json& e : array_of(answer, "experiments"))
    rows.row({std::to_string(number(e, "id")), text_of(e, "name"), shown_state(e), text_of(e, "state") == "ended" ? "" : text_of(e, "phase"), std::to_string(number(e, "pid")),
              human_ns(number(e, "elapsed_ms") * 1'000'000), text_of(e, "reason")});
  if (array_of(answer, "experiments").empty()) return "no experiment has run\n";
  return rows.text();
}

std::string shown_status(const json& answer) {
  std::string out;
  for (const json& e : array_of(answer, "experiments")) {
    if (!out.empty()) out += "\n";
    out += paint(ink::bold, text_of(e, "name")) + " (" + std::to_string(number(e, "id")) + "): " + shown_state(e) + "\n";
    if (const auto hypothesis = text_of(e, "hypothesis"); !hypothesis.empty()) out += hypothesis + "\n";
    if (text_of(e, "state") != "ended")
      out += "phase " + text_of(e, "phase", "-") + ", for " + human_ns(number(e, "elapsed_ms") * 1'000'000) + ", at most " + human_ns(number(e, "remaining_ms") * 1'000'000) + " more; pid " +
             std::to_string(number(e, "pid")) + "\n";
    if (const auto reason = text_of(e, "reason"); !reason.empty()) out += reason + "\n";
    if (flag_of(e, "report")) out += "its report: chaos-ctl experiment report " + std::to_string(number(e, "id")) + "\n";
    if (const auto removed = names_in(e, "removed"); !removed.empty()) out += "removed by chaosd: " + removed + "\n";
    if (const auto figures = e.find("figures"); figures != e.end() && figures->is_object())
      for (const auto& [name, value] : figures->items()) out += "  " + name + ": " + (value.is_string() ? value.get<std::string>() : value.dump()) + "\n";
    if (array_of(e, "rules").empty()) continue;
    table rules({"fault", "kind", "target", ">matched", ">fired", "left", ""});
    for (const json& r : array_of(e, "rules"))
      rules.row({text_of(r, "name"), text_of(r, "kind"), text_of(r, "target"), human_count(number(r, "matched")), human_count(number(r, "fired")), rule_life(r), rule_flags(r)});
    out += rules.text();
  }
  return out.empty() ? "no experiment runs\n" : out;
}

std::string shown_change(const std::string& action, const json& answer) {
  std::string out;
  for (const json& e : array_of(answer, "experiments")) {
    const std::string who = text_of(e, "name") + " (" + std::to_string(number(e, "id")) + ")", removed = names_in(e, "removed");
    if (action == "stop") out += "stopped " + who + (removed.empty() ? "" : "; removed: " + removed) + "\n";
    else out += action + "d " + who + ": " + std::to_string(array_of(e, "ids").size()) + (array_of(e, "ids").size() == 1 ? " rule\n" : " rules\n");
  }
  return out.empty() ? "no experiment runs\n" : out;
}

}  // namespace

int experiment_table(const invocation& from) {
  using rules::problem_code;
  const std::string action = from.words[0];
  const std::size_t most = action == "list" ? 1 : 2;
  if (from.words.size() > most)
    return report({problem_code::unexpected_word, "experiment " + action + (most == 1 ? " takes no further word" : " takes one ID or NAME, or none for all that run"), from.words[most], {}}, from);
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  auto link = daemon_that_runs(*where);
  if (!link) return report(link.error(), from);
  json arguments{{"action", action}};
  if (from.words.size() == 2) arguments["experiment"] = from.words[1];
  const auto answer = link->call(protocol::command::experiment, std::move(arguments));
  if (!answer) return report(answer.error(), from);
  for (const auto& w : answer->warnings)
    if (!from.json) note("chaos-ctl: " + w);
  if (from.json) print_json(answer->result);
  else print(action == "list" ? shown_list(answer->result) : action == "status" ? shown_status(answer->result) : shown_change(action, answer->result));
  return exits::done;
}

}  // namespace chaos::cli
