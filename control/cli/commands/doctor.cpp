// chaos-ctl doctor: why is nothing happening? For a program, a process, a rule, or the session.
#include <algorithm>
#include <charconv>

#include "../help.hpp"
#include "../link.hpp"
#include "../pages.hpp"
#include "../reach.hpp"
#include "../rule_view.hpp"
#include "../why.hpp"
#include "chaos/abi/effects.hpp"
#include "chaos/abi/report_page.hpp"
#include "control/rules/options.hpp"

namespace chaos::cli::commands {

namespace {

using rules::problem_code;

constexpr const char* level_names[] = {"refused", "limited", "note"};

json json_of(const reach_report& r) {
  json findings = json::array();
  for (const auto& f : r.findings)
    findings.push_back({{"level", level_names[static_cast<int>(f.level)]}, {"code", f.code}, {"text", f.text}, {"instead", f.instead}});
  return {{"program", r.program()}, {"chain", r.chain}, {"reachable", !r.refused()}, {"findings", findings}, {"interposed", r.interposed}, {"not_covered", r.not_covered}};
}

std::string list_of(const std::vector<std::string>& names) {
  std::string s;
  for (const auto& n : names) s += (s.empty() ? "" : " ") + n;
  return s;
}

void say_finding(severity level, const std::string& text, const std::string& instead) {
  static constexpr ink inks[] = {ink::red, ink::yellow, ink::dim};
  static constexpr const char* marks[] = {"NO  ", "but ", "    "};
  print(paint(inks[static_cast<int>(level)], marks[static_cast<int>(level)]) + wrapped(text, 4) + "\n");
  if (!instead.empty()) print("    " + paint(ink::dim, "→ ") + wrapped(instead, 6) + "\n");
}

int say_report(const invocation& from, const reach_report& r, json extra) {
  if (from.json) {
    json document = json_of(r);
    document.update(extra);
    print_json(document);
    return r.refused() ? exits::failed : exits::done;
  }
  print(paint(ink::bold, r.program()) + (r.refused() ? paint(ink::red, ": can not be reached") : paint(ink::green, ": can be reached")) + "\n");
  for (const auto& f : r.findings) say_finding(f.level, f.text, f.instead);
  if (!r.interposed.empty()) print("    " + std::to_string(r.interposed.size()) + " imported functions are covered:\n      " + wrapped(list_of(r.interposed), 6) + "\n");
  if (!r.not_covered.empty()) print("    imported, look like input or output, and are not covered:\n      " + wrapped(list_of(r.not_covered), 6) + "\n");
  return r.refused() ? exits::failed : exits::done;
}

int examine_live(const invocation& from, pid_t pid) {
  const auto r = examine_process(pid);
  if (!r) return report(r.error(), from);
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  std::string attached_to;
  if (is_attached(where->folder, pid)) attached_to = where->session + " of " + where->base;
  else
    for (const auto& o : sessions_elsewhere(*where))
      if (is_attached(o.base + "/" + o.session, pid)) attached_to = o.session + " of " + o.base;
  if (from.json) return say_report(from, *r, {{"pid", pid}, {"attached", !attached_to.empty()}, {"session", attached_to}});
  const int status = say_report(from, *r, json::object());
  if (!attached_to.empty()) print("    attached in session " + attached_to + "\n");
  else if (!r->refused()) print("    loaded, but attached in no session that you may read: it stays dormant without a folder, or beside a page of another version\n");
  return status;
}

int examine_rule(const invocation& from, const std::string& wanted) {
  invocation ask_as = from;
  json answer;
  session_location where;
  if (const int status = ask(ask_as, protocol::command::list, json::object(), answer, &where)) return status;
  for (const auto& rule : array_of(answer, "rules")) {
    if (std::to_string(number(rule, "id")) != wanted && text_of(rule, "name") != wanted) continue;
    const auto processes = attached_in(where.folder);
    const auto reasons = why_nothing(rule, where);
    if (from.json) {
      json texts = json::array(), why = json::array();
      for (const auto& r : reasons) {
        texts.push_back(r.text);
        why.push_back({{"code", r.code}, {"text", r.text}, {"nearest", r.nearest}});
      }
      print_json({{"rule", rule}, {"reasons", texts}, {"why", why}, {"attached", processes.size()}});
      return exits::done;
    }
    print(paint(ink::bold, text_of(rule, "name")) + ": matched " + human_count(number(rule, "matched")) + ", fired " + human_count(number(rule, "fired")) + "\n");
    for (const auto& r : reasons) print("  - " + wrapped(r.text, 4) + "\n");
    if (const auto n = number(rule, "unreached_live"))
      print("  - " + wrapped(human_count(n) + " live connections could not be broken at once (ptrace is not permitted): they break at their next call", 4) + "\n");
    if (reasons.empty()) print("  it works\n");
    return exits::done;
  }
  return report({problem_code::not_found, "session " + where.session + " has no rule " + wanted, wanted, {}}, from);
}

int examine_session(const invocation& from) {
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  const auto page = look_at_rule_page(where->folder);
  const auto processes = attached_in(where->folder);
  const auto library = find_library();
  const auto daemon_program = find_daemon();
  auto link = protocol::client::connect(where->folder);
  if (from.json) {
    print_json({{"session", where->session}, {"folder", where->folder}, {"daemon", link.ok()}, {"page", page.there}, {"page_usable", page.usable},
                {"stopped", page.stopped}, {"lease_ms", page.lease_left_ns / 1'000'000}, {"attached", processes.size()},
                {"library", library ? *library : ""}, {"chaosd", daemon_program ? *daemon_program : ""}});
    return exits::done;
  }
  print("session      " + where->session + " in " + where->folder + "\n");
  print("libchaos.so  " + (library ? *library : library.error().message) + "\n");
  print("chaosd       " + (daemon_program ? *daemon_program : daemon_program.error().message) + (link ? ", running" : ", not running") + "\n");
  if (!page.there) print("page         none yet: nothing was ever set here\n");
  else if (!page.usable) print("page         of version " + std::to_string(page.found_version) + ": another version of libchaos made it\n");
  else
    print(std::string("page         ") + (page.stopped ? "stopped by `chaos-ctl stop`" : page.armed_classes ? "armed" : "nothing armed") +
          (page.lease_left_ns > 0 ? ", lease for " + human_ns(static_cast<std::uint64_t>(page.lease_left_ns)) : ", lease lapsed: no rule is in force") + "\n");
  print("attached     " + std::to_string(processes.size()) + "\n");
  if (const auto hint = elsewhere_hint(*where); !hint.empty()) warn(hint);
  return exits::done;
}

}  // namespace

int doctor(const invocation& from) {
  const int asked = !from.words.empty() + from.has("--pid") + from.has("--rule");
  if (asked > 1) return report({problem_code::bad_combination, "doctor examines one thing: CMD, --pid PID or --rule ID", "", {}}, from);
  if (from.has("--rule")) return examine_rule(from, from.get("--rule"));
  if (from.has("--pid")) {
    const std::string text = from.get("--pid");
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
    if (error != std::errc() || end != text.data() + text.size() || pid <= 0)
      return report({problem_code::bad_value, "--pid needs a process id, not '" + text + "'", text, {"1234"}}, from);
    return examine_live(from, pid);
  }
  if (from.words.empty()) return examine_session(from);
  const auto r = examine_program(from.words[0]);
  if (!r) return report(r.error(), from);
  return say_report(from, *r, json::object());
}

}  // namespace chaos::cli::commands
