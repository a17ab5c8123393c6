// chaos-ctl doctor: why is nothing happening? For a program, a process, a rule, or the session.
#include <algorithm>
#include <charconv>
#include <fnmatch.h>

#include "../help.hpp"
#include "../link.hpp"
#include "../pages.hpp"
#include "../reach.hpp"
#include "../rule_view.hpp"
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

// Reasons, most telling first.
std::vector<std::string> reasons_for(const json& rule, const std::vector<attached_process>& processes, const session_location& where, bool stopped) {
  std::vector<std::string> reasons;
  const json& spec = rule.contains("rule") && rule["rule"].is_object() ? rule["rule"] : rule;
  if (rule_ended(rule)) reasons.push_back("it ended: " + text_of(rule, "ended_reason", "its time was up"));
  if (stopped) reasons.push_back("everything is off: `chaos-ctl stop` marked the page, and no daemon has looked at it since");
  if (flag_of(rule, "paused")) reasons.push_back("it is paused: chaos-ctl resume " + std::to_string(number(rule, "id")));
  if (processes.empty()) {
    const auto hint = elsewhere_hint(where);
    reasons.push_back(hint.empty() ? "no process is attached: start one with chaos-ctl run -- CMD" : hint);
  }
  const auto glob = text_of(spec, "process");
  if (!glob.empty() && !processes.empty() && std::ranges::none_of(processes, [&](const attached_process& p) {
        const auto base = p.executable.substr(p.executable.rfind('/') + 1);
        return fnmatch(glob.c_str(), p.executable.c_str(), 0) == 0 || fnmatch(glob.c_str(), base.c_str(), 0) == 0 || fnmatch(glob.c_str(), p.name.c_str(), 0) == 0;
      }))
    reasons.push_back("no attached process matches --process " + glob);
  if (const auto pid = number(spec, "pid"); pid && std::ranges::none_of(processes, [&](const auto& p) { return static_cast<std::uint64_t>(p.pid) == pid; }))
    reasons.push_back("process " + std::to_string(pid) + " (--pid) is not attached");
  else if (const auto text = text_of(spec, "pid"); !text.empty() && std::ranges::none_of(processes, [&](const auto& p) { return std::to_string(p.pid) == text; }))
    reasons.push_back("process " + text + " (--pid) is not attached");
  for (const auto& h : array_of(rule, "unresolved"))
    if (h.is_string()) reasons.push_back("the name " + h.get<std::string>() + " resolves to nothing here, and no process has looked it up");
  const auto kind = rules::find_kind(text_of(rule, "kind"));
  for (const auto& p : processes) {
    const std::string who = p.name + " (pid " + std::to_string(p.pid) + ")";
    if (kind == abi::effect::enomem && (p.limits & abi::attach_limits::own_allocator)) reasons.push_back(who + " brings its own malloc");
    if (!text_of(spec, "stack").empty() && (p.limits & abi::attach_limits::no_stacks)) reasons.push_back(who + " was started without --stacks");
    if (p.limits & abi::attach_limits::io_uring) reasons.push_back(who + " uses io_uring, which no preload sees");
  }
  const auto target = text_of(rule, "target");
  if (reasons.empty()) {
    reasons.push_back("no call of an attached process went to " + target + " since it was set. A connection must be there: an address matches the remote end, and "
                      "listen:PORT those that were accepted. chaos-ctl set observe '*' --everything --for 10s and chaos-ctl watch show what there is");
    if (!text_of(spec, "on").empty()) reasons.push_back("it acts on " + text_of(spec, "on") + " only (--on): chaos-ctl doctor --pid PID lists what a process imports");
    if (!text_of(spec, "direction").empty()) reasons.push_back("it acts in the direction " + text_of(spec, "direction") + " only");
  }
  return reasons;
}

int examine_rule(const invocation& from, const std::string& wanted) {
  invocation ask_as = from;
  json answer;
  session_location where;
  if (const int status = ask(ask_as, protocol::command::list, json::object(), answer, &where)) return status;
  for (const auto& rule : array_of(answer, "rules")) {
    if (std::to_string(number(rule, "id")) != wanted && text_of(rule, "name") != wanted) continue;
    const auto processes = attached_in(where.folder);
    const bool matched = number(rule, "matched") > 0;
    const auto page = look_at_rule_page(where.folder);
    std::vector<std::string> reasons;
    if (!matched || rule_ended(rule) || flag_of(rule, "paused")) reasons = reasons_for(rule, processes, where, page.stopped);
    if (matched && number(rule, "fired") == 0 && reasons.empty())
      reasons.push_back("it matched " + human_count(number(rule, "matched")) + " calls and its trigger (--probability, --toxicity, --when, --after, --times) let none of them fire");
    if (from.json) {
      print_json({{"rule", rule}, {"reasons", reasons}, {"attached", processes.size()}});
      return exits::done;
    }
    print(paint(ink::bold, text_of(rule, "name")) + ": matched " + human_count(number(rule, "matched")) + ", fired " + human_count(number(rule, "fired")) + "\n");
    for (const auto& reason : reasons) print("  - " + wrapped(reason, 4) + "\n");
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
