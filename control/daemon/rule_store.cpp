#include "rule_store.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "control/proc/sockets.hpp"
#include "loop.hpp"

namespace chaos::daemon {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;
using rules::rule_spec;

rule_store::rule_store(page_writer& page, const report_reader& report, const state_file& state, std::uint64_t default_for_ns)
    : page_(page), report_(report), state_(state), default_for_ns_(default_for_ns) {
  for (unsigned i = 0; i < abi::rule_max; ++i) free_slots_.push_back(i);
  next_id_ = page.highest_id() + 1;
}

rules::compile_setting rule_store::setting(std::uint64_t run) const {
  rules::compile_setting s;
  s.now_ns = monotonic_ns();
  s.session_seed = seed_;
  s.default_for = default_for_ns_;
  s.run = run;
  s.names = &names_;
  return s;
}

unsigned rule_store::restore(const saved_state& saved, std::uint64_t seed, bool active) {
  seed_ = seed;
  next_id_ = std::max(next_id_, saved.next_id);
  next_run_ = saved.next_run;
  if (saved.clean) return 0;
  runs_ = saved.runs;
  const std::uint64_t now = monotonic_ns();
  live_map next;
  for (const saved_rule& s : saved.rules) {
    rules::compile_setting how = setting(s.run);
    how.id = s.id;
    how.slot = s.slot;
    auto compiled = rules::compile(s.spec, how);
    const auto free = std::find(free_slots_.begin(), free_slots_.end(), s.slot);
    if (!compiled || free == free_slots_.end() || next.count(s.id)) continue;
    const std::uint64_t ends = s.ends_at_ns == 0 ? 0 : saved.boot == boot_ ? s.ends_at_ns : now + s.remaining_ns;
    compiled->rule.ends_at_ns = ends;
    compiled->rule.paused = s.paused || !active;
    live_rule r{s.spec, std::move(*compiled), true};
    next_id_ = std::max(next_id_, s.id + 1);
    if (ends != 0 && ends <= now) {
      forget(std::move(r), "expired");
      continue;
    }
    free_slots_.erase(free);
    if (report_.counters(s.slot).rule != s.id) report_.give_out(s.slot, s.id);
    next.emplace(s.id, std::move(r));
  }
  if (!commit(std::move(next), false)) return 0;
  return static_cast<unsigned>(live_.size());
}

result<rules::compiled_rule> rule_store::check(const rule_spec& spec, std::uint64_t run) const {
  rules::compile_setting how = setting(run);
  how.id = next_id_;
  return rules::compile(spec, how);
}

void rule_store::prepare_slot(unsigned slot, std::uint32_t id) {
  for (ended_rule& e : ended_)
    if (e.rule.compiled.rule.slot == slot && report_.counters(slot).rule == e.rule.id()) e.last = report_.counters(slot);
  report_.give_out(slot, id);
}

bool rule_store::is_name(const live_map& rules, const std::string& name) const {
  return std::any_of(rules.begin(), rules.end(), [&](const auto& entry) { return entry.second.compiled.name == name; });
}

result<std::vector<std::uint32_t>> rule_store::add(const std::vector<rule_spec>& specs, std::uint64_t run) {
  live_map next = live_;
  std::deque<unsigned> slots = free_slots_;
  std::vector<std::pair<live_rule, counter_values>> replaced;
  std::vector<std::uint32_t> ids;
  std::set<std::string> given;
  std::uint32_t next_id = next_id_;
  for (const rule_spec& spec : specs) {
    rules::compile_setting how = setting(run);
    how.id = next_id++;
    auto compiled = rules::compile(spec, how);
    // a name that was made up must not be one that somebody gave
    while (compiled && !spec.has(rules::option::name_) && is_name(next, compiled->name)) {
      how.id = next_id++;
      compiled = rules::compile(spec, how);
    }
    if (!compiled) return compiled.error();
    if (!given.insert(compiled->name).second)
      return problem{problem_code::bad_combination, "two of the rules have the name '" + compiled->name + "'", compiled->name, {}};
    for (auto at = next.begin(); at != next.end(); ++at) {
      if (at->second.compiled.name != compiled->name) continue;
      slots.push_back(at->second.compiled.rule.slot);
      replaced.emplace_back(at->second, counters(at->second));
      next.erase(at);
      break;
    }
    if (slots.empty())
      return problem{problem_code::too_many, "there are already " + std::to_string(live_.size()) + " rules, and " +
                         std::to_string(abi::rule_max) + " is the most: remove one first", "", {}};
    compiled->rule.slot = slots.front();
    slots.pop_front();
    ids.push_back(how.id);
    next.emplace(how.id, live_rule{spec, std::move(*compiled), false});
  }
  const std::uint32_t before = std::exchange(next_id_, next_id);
  if (const auto good = commit(std::move(next), true, ids); !good) {
    next_id_ = before;
    return good.error();
  }
  free_slots_ = std::move(slots);
  for (auto& [r, last] : replaced) forget(std::move(r), "replaced", last);
  return ids;
}

result<done> rule_store::commit(live_map next, bool must_save, const std::vector<std::uint32_t>& fresh) {
  std::vector<const rules::compiled_rule*> order;
  for (const auto& [id, r] : next) order.push_back(&r.compiled);
  const auto bank = rules::make_bank(order);
  if (!bank) return bank.error();
  const auto saved = state_.save(state_of(next, false));
  if (!saved && must_save) return saved;
  unsaved_ = saved ? "" : saved.error().message;
  for (const std::uint32_t id : fresh) prepare_slot(next.at(id).compiled.rule.slot, id);
  live_ = std::move(next);
  page_.publish(*bank);
  return done{};
}

saved_state rule_store::state_of(const live_map& rules, bool clean) const {
  saved_state s;
  s.boot = boot_;
  s.next_id = next_id_;
  s.next_run = next_run_;
  s.seed = seed_;
  s.clean = clean;
  s.runs = runs_;
  const std::uint64_t now = monotonic_ns();
  for (const auto& [id, r] : rules) {
    const std::uint64_t ends = r.compiled.rule.ends_at_ns;
    s.rules.push_back({r.spec, id, r.compiled.rule.slot, ends, ends > now ? ends - now : 0, r.compiled.rule.run, r.paused()});
  }
  return s;
}

result<done> rule_store::save(bool clean) const { return state_.save(state_of(live_, clean)); }

void rule_store::forget(live_rule r, const std::string& reason) {
  const counter_values last = counters(r);
  forget(std::move(r), reason, last);
}

void rule_store::forget(live_rule r, const std::string& reason, const counter_values& last) {
  ended_.push_back({std::move(r), reason, monotonic_ns(), last});
  while (ended_.size() > remember_max) forget_oldest();
}

namespace {

void sum_up(counter_values& to, const counter_values& more) {
  to.matched += more.matched;
  to.fired += more.fired;
  to.delayed_ns += more.delayed_ns;
  to.bytes += more.bytes;
}

}  // namespace

void rule_store::forget_oldest() {
  const ended_rule& oldest = ended_.front();
  sum_up(forgotten_[oldest.rule.spec.kind], counted(oldest));
  events_.erase(oldest.rule.id());
  broken_live_.erase(oldest.rule.id());
  ended_.pop_front();
}

nlohmann::json rule_store::totals() const {
  std::map<abi::effect, counter_values> sums = forgotten_;
  for (const auto& [id, r] : live_) sum_up(sums[r.spec.kind], counted(r, counters(r)));
  for (const ended_rule& r : ended_) sum_up(sums[r.rule.spec.kind], counted(r));
  nlohmann::json out = nlohmann::json::object();
  for (const auto& [kind, c] : sums)
    out[abi::effect_table[static_cast<unsigned>(kind)].name] = {{"matched", c.matched}, {"fired", c.fired}, {"delayed_ns", c.delayed_ns}, {"bytes", c.bytes}};
  return out;
}

bool rule_store::knows(const std::string& hostname) const {
  const auto at = names_.find(hostname);
  return at != names_.end() && !at->second.empty();
}

void rule_store::count_event(std::uint32_t id) {
  if (!names_of(id).name.empty()) ++events_[id];  // not for ids that a broken target made up
}

std::uint64_t rule_store::events_of(std::uint32_t id) const {
  const auto at = events_.find(id);
  return at == events_.end() ? 0 : at->second;
}

result<done> rule_store::end(const std::vector<std::uint32_t>& ids, const std::string& reason) {
  live_map next = live_;
  for (const std::uint32_t id : ids) next.erase(id);
  live_map before = live_;
  if (const auto good = commit(std::move(next), true); !good) return good;
  for (const std::uint32_t id : ids)
    if (const auto at = before.find(id); at != before.end()) {
      free_slots_.push_back(at->second.compiled.rule.slot);
      forget(std::move(at->second), reason);
    }
  return done{};
}

void rule_store::end_now(const std::function<bool(const live_rule&)>& which, const std::string& reason) {
  live_map next;
  std::vector<live_rule> gone;
  for (const auto& [id, r] : live_) {
    if (which(r)) gone.push_back(r);
    else next.emplace(id, r);
  }
  if (gone.empty()) return;
  if (!commit(std::move(next), false)) return;  // fewer rules always fit
  for (live_rule& r : gone) {
    free_slots_.push_back(r.compiled.rule.slot);
    forget(std::move(r), reason);
  }
}

void rule_store::end_expired(std::uint64_t now_ns) {
  end_now([now_ns](const live_rule& r) { return r.compiled.rule.ends_at_ns != 0 && r.compiled.rule.ends_at_ns <= now_ns; },
          "expired");
  while (!ended_.empty() && ended_.front().ended_ns + remember_ns < now_ns) forget_oldest();  // it may lie after now_ns
}

result<done> rule_store::set_paused(const std::vector<std::uint32_t>& ids, bool paused) {
  live_map next = live_;
  for (const std::uint32_t id : ids)
    if (const auto at = next.find(id); at != next.end()) at->second.compiled.rule.paused = paused;
  return commit(std::move(next), true);
}

std::vector<std::uint32_t> rule_store::set_address(const std::string& hostname, std::vector<rules::ip_address> addresses) {
  const auto before = names_.find(hostname);
  if (before != names_.end() && before->second == addresses) return {};
  names_[hostname] = std::move(addresses);
  live_map next = live_;
  std::vector<std::uint32_t> changed;
  for (auto& [id, r] : next) {
    const auto& wanted = r.compiled.hostnames;
    if (std::find(wanted.begin(), wanted.end(), hostname) == wanted.end()) continue;
    rules::compile_setting how = setting(r.compiled.rule.run);
    how.id = id;
    how.slot = r.compiled.rule.slot;
    auto again = rules::compile(r.spec, how);
    if (!again) continue;
    again->rule.ends_at_ns = r.compiled.rule.ends_at_ns;
    again->rule.paused = r.compiled.rule.paused;
    r.compiled = std::move(*again);
    changed.push_back(id);
  }
  if (!changed.empty() && !commit(std::move(next), false)) return {};
  return changed;
}

std::vector<std::string> rule_store::hostnames() const {
  std::set<std::string> all;
  for (const auto& [id, r] : live_) all.insert(r.compiled.hostnames.begin(), r.compiled.hostnames.end());
  return {all.begin(), all.end()};
}

std::uint64_t rule_store::next_end_ns() const {
  std::uint64_t first = 0;
  for (const auto& [id, r] : live_)
    if (const std::uint64_t ends = r.compiled.rule.ends_at_ns; ends != 0 && (first == 0 || ends < first)) first = ends;
  return first;
}

bool rule_store::any_active() const {
  return std::any_of(live_.begin(), live_.end(), [](const auto& entry) { return !entry.second.paused(); });
}

rule_names rule_store::names_of(std::uint32_t id) const {
  if (const auto at = live_.find(id); at != live_.end()) return {at->second.compiled.name, at->second.compiled.target};
  for (auto at = ended_.rbegin(); at != ended_.rend(); ++at)
    if (at->rule.id() == id) return {at->rule.compiled.name, at->rule.compiled.target};
  return {};
}

std::uint64_t rule_store::open_run(std::int32_t pid, std::uint64_t start_ticks) {
  runs_.push_back({next_run_, pid, start_ticks});
  return next_run_++;
}

void rule_store::close_run(std::uint64_t run) {
  runs_.erase(std::remove_if(runs_.begin(), runs_.end(), [run](const saved_run& r) { return r.id == run; }), runs_.end());
  end_now([run](const live_rule& r) { return r.compiled.rule.run == run; }, "its run ended");
}

counter_values rule_store::counters(const live_rule& r) const { return report_.counters(r.compiled.rule.slot); }

void rule_store::count_live(std::uint32_t id, std::uint64_t broken, std::uint64_t unreached, std::uint64_t now_ns) {
  if (names_of(id).name.empty()) return;
  live_count& c = broken_live_[id];
  c.broken += broken;
  c.unreached = unreached;  // of the latest look
  if (broken) c.latest_ns = now_ns;
}

counter_values rule_store::counted(const live_rule& r, counter_values c) const {
  const auto at = broken_live_.find(r.id());
  if (at == broken_live_.end()) return c;
  c.matched += at->second.broken;  // each is a connection that was met, and an injection, though no call of the target made it
  c.fired += at->second.broken;
  c.last_fired_ns = std::max(c.last_fired_ns, at->second.latest_ns);
  if (c.first_matched_ns == 0) c.first_matched_ns = at->second.latest_ns;
  return c;
}

counter_values rule_store::counted(const ended_rule& r) const {
  const counter_values now = counters(r.rule);  // calls that were under way still count, until the slot has a new owner
  return counted(r.rule, now.rule == r.rule.id() ? now : r.last);
}

nlohmann::json rule_store::describe_common(const live_rule& r, const counter_values& c) const {
  live_count now;
  if (const auto at = broken_live_.find(r.id()); at != broken_live_.end()) now = at->second;
  const abi::rule& rule = r.compiled.rule;
  nlohmann::json out{{"id", rule.id}, {"name", r.compiled.name}, {"kind", abi::effect_table[static_cast<unsigned>(r.spec.kind)].name},
                     {"target", r.compiled.target}, {"dry_run", rule.dry_run != 0}, {"never_matched", c.matched == 0},
                     {"rule", rules::json_of(r.spec)}, {"text", rules::normalised_text(r.spec)}, {"events", events_of(rule.id)},
                     {"broken_live", now.broken}, {"unreached_live", now.unreached}};
  if (rule.run) out["run"] = rule.run;
  if (r.compiled.owner) out["owner"] = r.compiled.owner;
#define RULE_COUNTER(name, unit, meaning) out[#name] = c.name;
#define SESSION_COUNTER(name, unit, meaning)
#include "chaos/abi/counters.def"
#undef RULE_COUNTER
#undef SESSION_COUNTER
  return out;
}

nlohmann::json rule_store::describe(const live_rule& r) const {
  nlohmann::json out = describe_common(r, counted(r, counters(r)));
  const std::uint64_t now = monotonic_ns(), ends = r.compiled.rule.ends_at_ns;
  out["remaining_ms"] = ends == 0 ? nlohmann::json() : nlohmann::json(ends > now ? (ends - now) / 1'000'000 : 0);
  out["paused"] = r.paused();
  out["state"] = r.paused() ? "paused" : "active";
  if (r.restored) out["restored"] = true;
  for (const std::string& name : r.compiled.hostnames) {
    nlohmann::json& known = out["addresses"][name] = nlohmann::json::array();
    if (const auto at = names_.find(name); at != names_.end())
      for (const rules::ip_address& address : at->second) known.push_back(proc::text_of(address));
    if (known.empty()) out["unresolved"].push_back(name);
  }
  return out;
}

nlohmann::json rule_store::describe(const ended_rule& r) const {
  nlohmann::json out = describe_common(r.rule, counted(r));
  out["remaining_ms"] = 0;
  out["paused"] = false;
  out["state"] = "ended";
  out["ended_reason"] = r.reason;
  out["ended_ago_ms"] = (monotonic_ns() - r.ended_ns) / 1'000'000;
  return out;
}

}  // namespace chaos::daemon
