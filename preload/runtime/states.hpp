// Trigger states: one for each (rule, scope) that was ever asked, in chains that hang on a connection, a thread or the
// process. They come back when the connection is closed, the thread has ended, or the rule has. A fixed pool; when it is used up, scopes share one state per rule and a counter says so.
#pragma once
#include <atomic>
#include <cstdint>

#include "preload/core/trigger.hpp"
#include "process.hpp"

namespace chaos {

inline constexpr std::uint32_t state_pool_max = 64 * 1024;  // 3.5 MiB of address space, touched as used

// The state of `rule` in the chain that begins at `head` (0: empty), made when there is none. `before`: the state in the same
// chain that the same call asked for last, if any. A new one comes behind it: the next call, which asks the same rules in
// the same order, finds each where it looks first, however many there are.
core::rule_state& find_state(std::atomic<std::uint32_t>& head, std::uint32_t rule, core::rule_state* before = nullptr);
[[gnu::visibility("hidden")]] extern std::atomic<core::rule_state*> state_pool;  // nullptr until first needed
inline core::rule_state& state_in(std::atomic<std::uint32_t>& head, std::uint32_t rule, core::rule_state* before = nullptr) {
  const std::uint32_t first = before ? before->next.load(std::memory_order_acquire) : head.load(std::memory_order_acquire);
  core::rule_state* const pool = state_pool.load(std::memory_order_acquire);
  if (pool && first && first <= state_pool_max && pool[first].rule.load(std::memory_order_relaxed) == rule) return pool[first];
  return find_state(head, rule, before);
}

// Not one of those that scopes share when the pool is used up.
inline bool is_of_one_scope(const core::rule_state& s) {
  const core::rule_state* const pool = state_pool.load(std::memory_order_relaxed);
  return pool && &s > pool && &s <= pool + state_pool_max;
}

// Gives a chain back. Threads that still use it see values of another scope for one decision at worst.
void release_states(std::atomic<std::uint32_t>& head);

extern std::atomic<std::uint32_t> process_states;

// Chains of threads stand in a table, so that those of threads that ended can be given back: nobody tells us of an end, but
// each thread that takes a place looks whether the owners of two others still live.
struct thread_chain {
  std::atomic<std::int32_t> tid;  // 0: nobody's
  std::atomic<std::uint32_t> head;
};
inline constexpr std::uint32_t thread_chain_max = 16 * 1024;  // threads alive at one time; beyond that they share a chain
[[gnu::visibility("hidden")]] extern std::atomic<thread_chain*> thread_chains;  // nullptr until first needed
std::atomic<std::uint32_t>& take_chain();

inline std::atomic<std::uint32_t>& states_of_this_thread() {
  thread_chain* const all = thread_chains.load(std::memory_order_acquire);
  const std::uint32_t place = this_thread.chain;
  if (all && place && all[place].tid.load(std::memory_order_relaxed) == this_thread.tid) return all[place].head;
  return take_chain();
}
void begin_counts_anew();  // in a forked child, once its tid is to be asked anew: it is another process, with another thread

}  // namespace chaos
