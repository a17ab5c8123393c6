#include "quick_no.hpp"

#include "hook.hpp"
#include "preload/runtime/delay_line.hpp"

namespace chaos::hooks {

namespace {

// From its second match on a rule is settled here: the first is told at once, which is the common road's to do.
core::rule_state* known_state(std::atomic<std::uint32_t>& head, const sole_rule& sole) {
  if (!report->rules[sole.slot].first_matched_ns.load(std::memory_order_relaxed)) return nullptr;
  core::rule_state& state = state_in(head, sole.id);
  return is_of_one_scope(state) ? &state : nullptr;
}

// What is kept beside the rule, as long as it is that rule. False: it no longer is.
template <class Keep>
bool keep(descriptor& d, std::uint64_t head, Keep keep_it) {
  if (!lock(d)) return false;
  const bool same = d.head.load(std::memory_order_relaxed) == head && page_generation() == generation_of(head) && keep_it();
  unlock(d);
  return same;
}

// The state of a connection.
core::rule_state* keep_state(descriptor& d, sole_rule& sole, std::uint64_t head) {
  core::rule_state* state = nullptr;
  keep(d, head, [&] {
    if ((state = known_state(d.states, sole))) __atomic_store_n(&sole.state, state, __ATOMIC_RELAXED);
    return state != nullptr;
  });
  return state;
}

const abi::rule& rule_of(const sole_rule& sole, std::uint64_t head) { return page->banks[generation_of(head) % 2].rules[sole.place - 1]; }

// Does the trigger say no to this operation, and to how many that follow? Nothing it looks at changes until it fires, so that
// the connection need not ask again for all of them.
bool look_ahead(const sole_rule& sole, const core::rule_state& state, std::uint64_t head, std::uint64_t operation, std::uint64_t& quiet_until) {
  constexpr unsigned at_once = 32;
  const abi::rule& r = rule_of(sole, head);
  const auto fires = [&](std::uint64_t n) { return core::would_fire(r, state, n, [&] { return sole.key; }, 0); };
  quiet_until = r.chance ? operation : UINT64_MAX;
  for (unsigned i = 0; r.chance && i < at_once && !fires(quiet_until); ++i) ++quiet_until;
  return operation < quiet_until;
}

// The rule that is to be asked may have been another one while we looked.
bool still(const descriptor& d, std::uint64_t head) {
  std::atomic_thread_fence(std::memory_order_acquire);
  return d.head.load(std::memory_order_relaxed) == head;
}

// Of a word that only this thread changes.
bool advance_alone(std::atomic<std::uint64_t>& word, std::uint64_t& from) {
#if defined(__x86_64__)
  bool done;
  asm volatile("cmpxchgq %3, %1" : "=@cce"(done), "+m"(word), "+a"(from) : "r"(from + 1));  // one instruction: no signal comes between
  return done;
#else
  return word.compare_exchange_strong(from, from + 1, std::memory_order_relaxed);
#endif
}

// Operations on files are counted in the thread's own states.
quick_answer ask_about_file(const descriptor& d, const sole_rule& sole, std::uint64_t head) {
  core::rule_state* const state = known_state(states_of_this_thread(), sole);
  if (!state) return nullptr;
  std::uint64_t operation = state->operations.load(std::memory_order_relaxed);
  const abi::rule& r = rule_of(sole, head);
  if (core::would_fire(r, *state, operation + 1, [&] { return key_in_thread(r); }, 0) || !still(d, head) || !advance_alone(state->operations, operation)) return nullptr;
  return state;
}

quick_answer ask_about_stream(descriptor& d, sole_rule& sole, std::uint64_t head) {
  core::rule_state* state = __atomic_load_n(&sole.state, __ATOMIC_RELAXED);
  if (!state && !(state = keep_state(d, sole, head))) return nullptr;
  std::uint64_t operation = state->operations.load(std::memory_order_relaxed);
  std::uint64_t quiet_until = sole.quiet_until.load(std::memory_order_relaxed);
  const bool asks = operation + 1 >= quiet_until;
  if (asks && !look_ahead(sole, *state, head, operation + 1, quiet_until)) return nullptr;
  if (state->rule.load(std::memory_order_relaxed) != sole.id || !still(d, head)) return nullptr;
  if (asks && !keep(d, head, [&] { sole.quiet_until.store(quiet_until, std::memory_order_relaxed); return true; })) return nullptr;
  if (!state->operations.compare_exchange_strong(operation, operation + 1, std::memory_order_relaxed)) return nullptr;  // somebody was faster
  return state;
}

}  // namespace

quick_answer ask_quickly(descriptor& d, std::uint64_t function, abi::class_set row, int flags) {
  if (inside() || !fork_witness->load(std::memory_order_relaxed)) return nullptr;
  const std::uint64_t head = d.head.load(std::memory_order_acquire);
  if (generation_of(head) != page_generation() || !(head & row) || flags & (MSG_PEEK | beside_the_queue) || under_way(d)) return nullptr;
  const abi::class_set acts_as = row & d.role;
  const bool file = acts_as & (abi::classes::file_io | abi::classes::sync);
  sole_rule& sole = sole_of(d, acts_as);
  if (!sole.place || sole.pid != self.pid) return nullptr;
  if (!file)
    if (const std::int32_t owner = d.owner.load(std::memory_order_relaxed); owner != this_thread.tid && owner != shared_by_threads) return nullptr;
  if (!(sole.functions & function)) return still(d, head) ? nobody_asked : nullptr;
  return file ? ask_about_file(d, sole, head) : ask_about_stream(d, sole, head);
}

namespace {

// The rule may be gone by now, and another one have its counters.
void count_unless_changed(const sole_rule& sole, quick_answer asked, std::uint64_t moved) {
  const unsigned slot = sole.slot;
  if (asked != nobody_asked && report->rules[slot].rule.load(std::memory_order_relaxed) == asked->rule.load(std::memory_order_relaxed)) count_calls(slot, 1, moved);
}

bool is_still(const sole_rule& sole, quick_answer asked) { return asked != nobody_asked && asked->rule.load(std::memory_order_relaxed) == sole.id; }

}  // namespace

void count_late(descriptor& d, const sole_rule& sole, quick_answer asked) {
  own_or_share(d);
  std::uint64_t operation = asked->operations.load(std::memory_order_relaxed);
  while (operation + 1 < sole.quiet_until.load(std::memory_order_relaxed))  // the next one that fires is left to the next call
    if (asked->operations.compare_exchange_weak(operation, operation + 1, std::memory_order_relaxed)) return;
}

long settle_failed(descriptor& d, quick_answer asked, bool input, counted when, long result) {
  const sole_rule& sole = input ? d.sole_in : d.sole_out;
  if (input && errno_here() == EAGAIN) {
    if (when == counted::before && is_still(sole, asked)) add_to(d, asked->operations, ~std::uint64_t{0});
    return result;
  }
  if (when == counted::after && is_still(sole, asked)) count_late(d, sole, asked);
  count_unless_changed(sole, asked, 0);
  return result;
}

long settle_otherwise(descriptor& d, quick_answer asked, bool input, counted when, long result) {
  const std::uint64_t moved = static_cast<std::uint64_t>(result);
  const sole_rule& sole = input ? d.sole_in : d.sole_out;
  if (when == counted::after && is_still(sole, asked)) count_late(d, sole, asked);
  count_unless_changed(sole, asked, moved);
  if (!input) add_to(d, d.out_bytes, moved);
  else if (!d.line.load(std::memory_order_relaxed)) add_to(d, d.in_bytes, moved);
  else consumed(d, moved);
  return result;
}

long settle_file(const sole_rule& sole, quick_answer asked, long result) {
  count_unless_changed(sole, asked, result < 0 ? 0 : static_cast<std::uint64_t>(result));
  return result;
}

}  // namespace chaos::hooks
