#include "quick_no.hpp"

#include <errno.h>
#include <sys/socket.h>

#include "hook.hpp"
#include "preload/runtime/delay_line.hpp"
#include "preload/runtime/lanes.hpp"
#include "preload/runtime/owner.hpp"

namespace chaos::hooks {

namespace {

constexpr quick_answer common_road{};

constexpr std::uint64_t ask_the_rule = ~std::uint64_t{0};  // sole_rule::chance

// From its second match on a rule is settled here: the first is told at once, which is the common road's to do.
core::rule_state* known_state(std::atomic<std::uint32_t>& head, const sole_rule& sole) {
  if (!report->rules[sole.slot].first_matched_ns.load(std::memory_order_relaxed)) return nullptr;
  core::rule_state& state = state_in(head, sole.id);
  return is_of_one_scope(state) ? &state : nullptr;
}

// The state of a connection is kept beside the rule.
[[gnu::noinline]] core::rule_state* keep_state(descriptor& d, sole_rule& sole, std::uint64_t head) {
  if (!lock(d)) return nullptr;
  core::rule_state* state = nullptr;
  if (d.head.load(std::memory_order_relaxed) == head && (state = known_state(d.states, sole))) __atomic_store_n(&sole.state, state, __ATOMIC_RELAXED);
  unlock(d);
  return state;
}

[[gnu::noinline]] bool fires_by_rule(const descriptor& d, const sole_rule& sole, const core::rule_state& state, std::uint64_t head, std::uint64_t operation) {
  const abi::rule& r = page->banks[generation_of(head) % 2].rules[sole.place - 1];
  return core::would_fire(r, state, operation, [&] { return d.role & abi::classes::file_io ? key_in_thread(r) : sole.key; }, 0);
}

bool fires(const descriptor& d, const sole_rule& sole, const core::rule_state& state, std::uint64_t head, std::uint64_t operation) {
  if (!sole.chance) return false;
  if (sole.chance == ask_the_rule) return fires_by_rule(d, sole, state, head, operation);
  return sole.chance >= abi::certain || core::draws(sole.key, operation).chance(sole.chance);
}

// The rule that is to be asked may have been another one while we looked.
bool still(const descriptor& d, std::uint64_t head) {
  std::atomic_thread_fence(std::memory_order_acquire);
  return d.head.load(std::memory_order_relaxed) == head;
}

// Operations on files are counted in the thread's own states.
[[gnu::noinline]] quick_answer ask_about_file(descriptor& d, const sole_rule& sole, std::uint64_t head) {
  core::rule_state* const state = known_state(states_of_this_thread(), sole);
  if (!state) return common_road;
  std::uint64_t operation = state->operations.load(std::memory_order_relaxed);
  const quick_answer no{state, sole.slot, true, false, true};
  const bool yes = sole.chance && fires_by_rule(d, sole, *state, head, operation + 1);
  return !yes && still(d, head) && exchange_alone(state->operations, operation, operation + 1) ? no : common_road;
}

}  // namespace

quick_answer ask_quickly(descriptor& d, std::uint64_t function, abi::class_set row, int flags) {
  if (inside() || !fork_witness || !fork_witness->load(std::memory_order_relaxed)) return common_road;
  const std::uint64_t head = d.head.load(std::memory_order_acquire);
  if (generation_of(head) != page_generation() || !(head & row) || flags & (MSG_PEEK | beside_the_queue)) return common_road;
  if (reinterpret_cast<std::uintptr_t>(d.line.load(std::memory_order_relaxed)) | d.connect_due_ns.load(std::memory_order_relaxed) |
      d.send_due_ns.load(std::memory_order_relaxed) | d.charge_ns.load(std::memory_order_relaxed) | d.broken.load(std::memory_order_relaxed) |
      d.redirected.load(std::memory_order_relaxed))
    return common_road;
  const abi::class_set acts_as = row & d.role;
  const bool input = acts_as & abi::classes::stream_in, file = acts_as & (abi::classes::file_io | abi::classes::sync);
  sole_rule& sole = acts_as & (abi::classes::stream_in | abi::classes::file_io) ? d.sole_in : d.sole_out;
  if (!sole.place || sole.pid != self.pid) return common_road;
  if (file && sole.functions & function) return ask_about_file(d, sole, head);
  const std::int32_t owner = d.owner.load(std::memory_order_relaxed);
  if (!file && (owner != this_thread.tid || !owner) && owner != shared_by_threads) return common_road;
  if (!(sole.functions & function)) return still(d, head) ? quick_answer{nullptr, sole.slot, true, input, file} : common_road;

  core::rule_state* state = __atomic_load_n(&sole.state, __ATOMIC_RELAXED);
  if (!state && !(state = keep_state(d, sole, head))) return common_road;
  const quick_answer no{state, sole.slot, true, input, false};
  std::uint64_t operation = state->operations.load(std::memory_order_relaxed);
  if (state->rule.load(std::memory_order_relaxed) != sole.id || fires(d, sole, *state, head, operation + 1) || !still(d, head)) return common_road;
  return owner_window(d).advance(state->operations, operation) ? no : common_road;
}

namespace {

// Nothing was there: no operation. Or the call failed in another way, which is one that moved nothing.
[[gnu::noinline]] void settle_failed(quick_answer a, descriptor& d) {
  if (!a.state) return;
  if (!a.input || errno != EAGAIN) return count_calls(a.slot, 1, 0);
  owner_window(d).add(a.state->operations, ~std::uint64_t{0});
}

}  // namespace

long settle(quick_answer a, descriptor& d, long result) {
  if (result < 0) {
    settle_failed(a, d);
    return result;
  }
  const std::uint64_t moved = static_cast<std::uint64_t>(result);
  if (a.state) count_calls(a.slot, 1, moved);
  if (a.file) return result;
  if (!a.input) owner_window(d).add(d.out_bytes, moved);
  else if (!d.line.load(std::memory_order_relaxed)) owner_window(d).add(d.in_bytes, moved);
  else consumed(d, moved);
  return result;
}

}  // namespace chaos::hooks
