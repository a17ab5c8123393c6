// The rules in force, and those that ended within the hour. Every change is checked, saved and published, or not made
// at all. Slots (the index of a rule's counters) stay with a rule for its life and are given out again oldest first.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "control/rules/compile.hpp"
#include "page_writer.hpp"
#include "report_reader.hpp"
#include "state_file.hpp"

namespace chaos::daemon {

struct live_rule {
  rules::rule_spec spec;
  rules::compiled_rule compiled;  // its rule carries id, slot, end, paused
  bool restored = false;          // came back after a crash

  std::uint32_t id() const { return compiled.rule.id; }
  bool paused() const { return compiled.rule.paused != 0; }
};

struct ended_rule {
  live_rule rule;
  std::string reason;
  std::uint64_t ended_ns = 0;
  counter_values last;           // as they were when it ended, or when its slot was given to another rule
};

struct rule_names {  // what an event says of its rule
  std::string name, target;
};

class rule_store {
 public:
  static constexpr std::uint64_t remember_ns = 3'600'000'000'000;
  static constexpr std::size_t remember_max = 1024;

  rule_store(page_writer& page, const report_reader& report, const state_file& state, std::uint64_t default_for_ns);

  // Brings back what was saved. Returns how many rules. `active`: --restore.
  unsigned restore(const saved_state& saved, std::uint64_t seed, bool active);

  // What `add` would make of it, without ids, slots and effect.
  rules::result<rules::compiled_rule> check(const rules::rule_spec& spec, std::uint64_t run) const;

  // All or none. A rule whose --name exists replaces that one.
  rules::result<std::vector<std::uint32_t>> add(const std::vector<rules::rule_spec>& specs, std::uint64_t run);

  rules::result<rules::done> end(const std::vector<std::uint32_t>& ids, const std::string& reason);
  rules::result<rules::done> set_paused(const std::vector<std::uint32_t>& ids, bool paused);
  // Off, whether or not it can be saved: for expiry, owners, stop and shutdown.
  void end_now(const std::function<bool(const live_rule&)>& which, const std::string& reason);
  void end_expired(std::uint64_t now_ns);

  // Compiles again with what names stand for now, and publishes when that changes anything. Returns the rules that it changed.
  std::vector<std::uint32_t> set_address(const std::string& hostname, std::vector<rules::ip_address> addresses);
  std::vector<std::string> hostnames() const;
  bool knows(const std::string& hostname) const;  // addresses of it

  std::uint64_t next_end_ns() const;  // 0: no rule ends by itself
  const std::map<std::uint32_t, live_rule>& live() const { return live_; }
  const std::deque<ended_rule>& ended() const { return ended_; }
  bool any_active() const;
  rule_names names_of(std::uint32_t id) const;
  counter_values counters(const live_rule& r) const;
  // Counters summed over every rule that there ever was, by kind: they never go back.
  nlohmann::json totals() const;
  nlohmann::json describe(const live_rule& r) const;
  nlohmann::json describe(const ended_rule& r) const;

  void count_event(std::uint32_t id);  // one event of this rule was taken out of the ring

  // Connections that were broken when the rule came into force, and those that could not be reached.
  void count_live(std::uint32_t id, std::uint64_t broken, std::uint64_t unreached, std::uint64_t now_ns);

  std::uint64_t open_run(std::int32_t pid, std::uint64_t start_ticks);
  void close_run(std::uint64_t run);
  const std::vector<saved_run>& runs() const { return runs_; }
  rules::result<rules::done> save(bool clean = false) const;
  std::uint64_t seed() const { return seed_; }
  const std::string& unsaved() const { return unsaved_; }  // the latest change that had to be made unsaved; ""

 private:
  using live_map = std::map<std::uint32_t, live_rule>;  // in id order, which is the order of effect

  rules::compile_setting setting(std::uint64_t run) const;
  // Saves and publishes `next`; without `must_save` it is published even if it could not be saved. The counters of
  // `fresh` rules are zeroed between the two.
  rules::result<rules::done> commit(live_map next, bool must_save, const std::vector<std::uint32_t>& fresh = {});
  saved_state state_of(const live_map& rules, bool clean) const;
  void forget(live_rule r, const std::string& reason);
  void forget(live_rule r, const std::string& reason, const counter_values& last);
  void forget_oldest();
  counter_values counted(const live_rule& r, counter_values c) const;  // with what was broken when it came into force
  counter_values counted(const ended_rule& r) const;
  void prepare_slot(unsigned slot, std::uint32_t id);
  bool is_name(const live_map& rules, const std::string& name) const;
  std::uint64_t events_of(std::uint32_t id) const;
  nlohmann::json describe_common(const live_rule& r, const counter_values& c) const;

  page_writer& page_;
  const report_reader& report_;
  const state_file& state_;
  std::uint64_t default_for_ns_;
  std::string boot_ = boot_id();
  live_map live_;
  std::deque<ended_rule> ended_;
  std::deque<unsigned> free_slots_;
  std::vector<saved_run> runs_;
  rules::address_book names_;
  std::map<std::uint32_t, std::uint64_t> events_;  // taken out of the ring, by rule, live or ended
  struct live_count {
    std::uint64_t broken = 0, unreached = 0, latest_ns = 0;
  };
  std::map<std::uint32_t, live_count> broken_live_;                // by rule, live or ended
  std::map<abi::effect, counter_values> forgotten_;                // of ended rules that are not remembered any more
  std::uint32_t next_id_ = 1;
  std::uint64_t next_run_ = 1;
  std::uint64_t seed_ = 0;
  std::string unsaved_;
};

}  // namespace chaos::daemon
