#include "why.hpp"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <map>
#include <optional>

#include "chaos/abi/effects.hpp"
#include "chaos/abi/report_page.hpp"
#include "control/proc/match.hpp"
#include "control/rules/compile.hpp"
#include "control/rules/values.hpp"

namespace chaos::cli {

namespace {

constexpr std::size_t nearest_max = 5;

// The rule as chaosd compiled it, with the addresses that chaosd knows for its names.
std::optional<rules::compiled_rule> compiled_again(const json& rule) {
  if (!rule.contains("rule") || !rule["rule"].is_object()) return std::nullopt;
  const auto spec = rules::spec_from_json(rule["rule"]);
  if (!spec) return std::nullopt;
  rules::address_book names;
  if (const auto known = rule.find("addresses"); known != rule.end() && known->is_object())
    for (const auto& [name, list] : known->items())
      for (const json& text : list) {
        bool v4 = false;
        const auto address = text.is_string() ? rules::parse_ip(text.get<std::string>(), v4) : rules::result<rules::ip_address>(rules::problem{});
        if (address) names[name].push_back(*address);
      }
  rules::compile_setting setting;
  setting.id = 1;
  setting.run = number(rule, "run");
  setting.names = &names;
  auto compiled = rules::compile(*spec, setting);
  if (!compiled) return std::nullopt;
  return *compiled;
}

bool about_connections(const abi::rule& r) {
  return std::any_of(r.terms, r.terms + r.term_count, [](const abi::target_term& t) {
    return t.over != abi::transport::datagram && (t.kind == abi::term_kind::cidr || t.kind == abi::term_kind::hostname || t.kind == abi::term_kind::listen ||
                                                  t.kind == abi::term_kind::everything);
  });
}

std::string who(const attached_process& p) { return p.name + " (pid " + std::to_string(p.pid) + ")"; }

std::vector<std::string> named(const std::vector<attached_process>& processes) {
  std::vector<std::string> out;
  for (const auto& p : processes)
    if (out.size() < nearest_max) out.push_back(who(p));
  return out;
}

struct endpoint {
  proc::tcp_row row;
  std::string owner;
  bool meant = false;
};

std::vector<endpoint> endpoints_of(const std::vector<attached_process>& processes, const abi::rule& r) {
  std::vector<endpoint> out;
  for (const auto& p : processes) {
    std::vector<proc::held_socket> held;
    proc::sockets_of(p.pid, held);
    std::map<std::uint64_t, int> fds;
    for (const auto& h : held) fds.emplace(h.inode, h.fd);
    for (const auto& row : proc::tcp_rows(p.pid))
      if (const auto at = fds.find(row.inode); at != fds.end() && row.inode)
        out.push_back({row, who(p), row.state != proc::tcp_state::listen && proc::means_connection(r, row, at->second)});
  }
  return out;
}

// How far an endpoint is from what a term asks for: the same port, then the same address.
unsigned distance(const endpoint& e, const abi::rule& r) {
  unsigned best = UINT_MAX;
  for (unsigned i = 0; i < r.term_count; ++i) {
    const abi::target_term& t = r.terms[i];
    const bool by_listen = t.kind == abi::term_kind::listen;
    const std::uint16_t port = by_listen ? e.row.local_port : e.row.remote_port;
    const bool narrow = t.port_low != 0 || t.port_high != 65535;
    unsigned d = narrow && port >= t.port_low && port <= t.port_high ? 0 : 2;
    const auto& address = by_listen ? e.row.local : e.row.remote;
    if (t.kind != abi::term_kind::cidr || !std::equal(address.begin(), address.end(), t.address)) d += 1;
    if (by_listen != (e.row.state == proc::tcp_state::listen)) d += 1;
    best = std::min(best, d);
  }
  return best;
}

std::vector<std::string> nearest_endpoints(std::vector<endpoint> all, const abi::rule& r) {
  std::stable_sort(all.begin(), all.end(), [&r](const endpoint& a, const endpoint& b) { return distance(a, r) < distance(b, r); });
  std::vector<std::string> out;
  for (const endpoint& e : all) {
    const bool listens = e.row.state == proc::tcp_state::listen;
    if (!listens && !e.row.connected()) continue;
    const std::string text = (listens ? "listen:" + std::to_string(e.row.local_port) : proc::text_of(e.row.remote, e.row.remote_port)) + " of " + e.owner;
    if (std::find(out.begin(), out.end(), text) == out.end()) out.push_back(text);
    if (out.size() == nearest_max) break;
  }
  return out;
}

class examination {
 public:
  examination(const json& rule, const protocol::session_location& where)
      : rule_(rule), where_(where), spec_(rule.contains("rule") && rule["rule"].is_object() ? rule["rule"] : rule), processes_(attached_in(where.folder)),
        compiled_(compiled_again(rule)) {}

  std::vector<reason> run() {
    const std::uint64_t matched = number(rule_, "matched"), fired = number(rule_, "fired");
    whether_in_force();
    if (rule_ended(rule_)) return std::move(out_);
    if (matched == 0 && out_.empty()) who_could_match();
    else if (matched == 0) processes();
    else if (fired == 0 && out_.empty()) trigger(matched);
    if (flag_of(rule_, "dry_run")) say("dry_run", "it is a dry run: what it would do is counted and shown, and nothing is done");
    return std::move(out_);
  }

 private:
  static bool rule_ended(const json& rule) { return text_of(rule, "state") == "ended"; }

  void say(std::string code, std::string text, std::vector<std::string> nearest = {}) { out_.push_back({std::move(code), std::move(text), std::move(nearest)}); }
  std::string option(const char* name) const {
    const auto found = spec_.find(name);
    return found == spec_.end() ? "" : found->is_string() ? found->get<std::string>() : found->dump();
  }

  void whether_in_force() {
    if (rule_ended(rule_)) return say("ended", "it ended: " + text_of(rule_, "ended_reason", "its time was up"));
    const auto page = look_at_rule_page(where_.folder);
    if (page.stopped) say("stopped", "everything is off: `chaos-ctl stop` marked the page, and no daemon has looked at it since");
    if (page.usable && page.lease_left_ns <= 0) say("lease", "the lease has lapsed: chaosd does not renew it (is it stopped, or starved?), so no rule is in force");
    if (flag_of(rule_, "paused")) say("paused", "it is paused: chaos-ctl resume " + std::to_string(number(rule_, "id")));
  }

  // False: nobody is there whom the rule could mean.
  bool processes() {
    if (processes_.empty()) {
      const auto hint = elsewhere_hint(where_);
      say("no_process", hint.empty() ? "no process is attached: start one with chaos-ctl run -- CMD" : hint);
      return false;
    }
    if (!compiled_) return true;
    std::vector<attached_process> meant;
    for (const auto& p : processes_)
      if (proc::means_process(*compiled_, {p.pid, p.run, p.name, p.executable})) meant.push_back(p);
    if (meant.empty()) {
      std::string filters;
      if (!option("process").empty()) filters += "--process " + option("process");
      if (!option("pid").empty()) filters += (filters.empty() ? "" : " and ") + ("--pid " + option("pid"));
      if (filters.empty()) filters = "the `run` that it belongs to";
      const auto attached = named(processes_);
      std::string list;
      for (const auto& name : attached) list += (list.empty() ? "" : ", ") + name;
      say("other_process", "no attached process matches " + filters + "; attached: " + list + (processes_.size() > attached.size() ? ", …" : ""), attached);
      return false;
    }
    processes_ = std::move(meant);
    return true;
  }

  void who_could_match() {
    if (!processes()) return;
    for (const auto& h : array_of(rule_, "unresolved"))
      if (h.is_string()) say("unresolved", "the name " + h.get<std::string>() + " resolves to nothing here, and no process has looked it up");
    limits();
    const std::string target = text_of(rule_, "target");
    if (compiled_ && about_connections(compiled_->rule)) connections(target);
    else say("not_called", "no call of an attached process met " + target + " since the rule was set");
    std::string only;
    if (!option("on").empty()) only = "--on " + option("on");
    if (!option("direction").empty()) only += (only.empty() ? "" : ", ") + ("--direction " + option("direction"));
    for (const char* name : {"thread", "caller", "stack", "size"})
      if (!option(name).empty()) only += (only.empty() ? "" : ", ") + ("--" + std::string(name) + " " + option(name));
    if (!only.empty()) say("narrowed", "it means some calls only (" + only + "): chaos-ctl doctor --pid PID lists what a process imports");
  }

  void connections(const std::string& target) {
    const auto all = endpoints_of(processes_, compiled_->rule);
    std::vector<std::string> meant;
    for (const endpoint& e : all)
      if (e.meant && e.row.connected() && meant.size() < nearest_max) meant.push_back(proc::text_of(e.row.remote, e.row.remote_port) + " of " + e.owner);
    if (!meant.empty()) {
      std::string acts;
      for (unsigned i = 0; i < static_cast<unsigned>(abi::class_index::count); ++i)
        if (compiled_->rule.classes & (1u << i)) acts += (acts.empty() ? "" : " ") + std::string(abi::class_table[i].name);
      say("not_called", "the connection is there, but it made none of the calls that the rule acts on (" + acts + ") since the rule was set: " + meant.front(), meant);
      return;
    }
    const auto near = nearest_endpoints(all, compiled_->rule);
    std::string list;
    for (const auto& name : near) list += (list.empty() ? "" : ", ") + name;
    say("no_connection", "no attached process has a connection to " + target + ", and none tried since the rule was set" +
                             (near.empty() ? "; they have no TCP connection at all" : "; nearest: " + list), near);
  }

  void limits() {
    const auto kind = compiled_ ? compiled_->rule.kind : abi::effect::count;
    for (const auto& p : processes_) {
      if (kind == abi::effect::enomem && (p.limits & abi::attach_limits::own_allocator)) say("own_allocator", who(p) + " brings its own malloc");
      if (!option("stack").empty() && (p.limits & abi::attach_limits::no_stacks)) say("no_stacks", who(p) + " was started without stacks: chaos-ctl run --stacks -- CMD");
      if ((p.limits & abi::attach_limits::io_uring) && compiled_ && about_connections(compiled_->rule))
        say("io_uring", who(p) + " has asked for io_uring, which no preload sees: chaos-ctl run --no-io-uring");
    }
  }

  void trigger(std::uint64_t matched) {
    const std::string times = human_count(matched) + (matched == 1 ? " call" : " calls");
    const std::size_t before = out_.size();
    const std::string scope = option("scope").empty() ? "connection or thread" : option("scope");
    if (!option("probability").empty()) say("probability", "--probability " + option("probability") + " said no to each of the " + times + " that matched");
    if (!option("toxicity").empty()) say("toxicity", "--toxicity " + option("toxicity") + " drew none of the connections that were met");
    if (!option("when").empty()) say("when", "--when " + option("when") + " is not due: " + times + " matched in all, counted in each " + scope);
    if (!option("after").empty()) say("after", "--after " + option("after") + " is not reached: " + human_bytes(number(rule_, "bytes")) + " passed in all calls that matched");
    if (!option("space").empty()) say("space", "--space " + option("space") + " is not reached: " + human_bytes(number(rule_, "bytes")) + " passed in all calls that matched");
    if (compiled_ && (compiled_->rule.kind == abi::effect::reset_peer) && compiled_->rule.delay_ns)
      say("delay", "its time (" + rules::format_duration(compiled_->rule.delay_ns) + ") was not over for any connection when it made its latest call");
    if (out_.size() == before && compiled_ && compiled_->rule.kind == abi::effect::slow_close)
      say("slow_close", times + " matched: the end is still to come, or it came at once, as the process could not hand the connection to" +
                            " chaosd, which closes in time (it became another user, or has another root)");
    if (out_.size() == before) say("no_effect", times + " matched, and in none of them was there anything to do");
  }

  const json& rule_;
  const protocol::session_location& where_;
  const json& spec_;
  std::vector<attached_process> processes_;
  std::optional<rules::compiled_rule> compiled_;
  std::vector<reason> out_;
};

}  // namespace

std::vector<reason> why_nothing(const json& rule, const protocol::session_location& where) { return examination(rule, where).run(); }

}  // namespace chaos::cli
