// The usual fate of a call on a matched connection or file: one rule is asked, or none, and its trigger says no. That is settled
// here, in a few dozen instructions, before the call and after it: in two steps, of which the first knows only streams that one
// thread uses and is compiled into each hook. Whatever else may be the matter goes the common road, and nothing has been
// counted for it yet.
#pragma once
#include <sys/socket.h>

#include "preload/runtime/descriptors.hpp"
#include "preload/runtime/errno_here.hpp"
#include "preload/runtime/lanes.hpp"
#include "preload/runtime/owner.hpp"
#include "preload/runtime/states.hpp"

namespace chaos::hooks {

// What is remembered while the call is made, in one register: where the operation is counted. nullptr: the common road.
using quick_answer = core::rule_state*;
inline const quick_answer nobody_asked = reinterpret_cast<quick_answer>(1);  // to be made and settled, but no rule is about this function

// An input that finds nothing is no operation: step one counts it when it has been made, everything else is counted before.
enum class counted : bool { before, after };

// Nothing is under way that a call would have to wait for or be told of.
static_assert(offsetof(descriptor, redirected) == offsetof(descriptor, broken) + 1 && sizeof(std::atomic<bool>) == 1);
[[gnu::always_inline]] inline std::uint64_t under_way(const descriptor& d) {
  std::uint16_t broken_or_redirected;
  __builtin_memcpy(&broken_or_redirected, &d.broken, sizeof broken_or_redirected);
  return reinterpret_cast<std::uintptr_t>(d.line.load(std::memory_order_relaxed)) | d.connect_due_ns.load(std::memory_order_relaxed) |
         d.send_due_ns.load(std::memory_order_relaxed) | d.charge_ns.load(std::memory_order_relaxed) | broken_or_redirected;
}

// Step one. The descriptor's rules are known to be those of the page.
template <counted when>
[[gnu::always_inline]] inline quick_answer ask_alone(descriptor& d, const sole_rule& sole, std::uint64_t function) {
  std::uint64_t against = static_cast<std::uint32_t>(fork_witness->load(std::memory_order_relaxed)) ^ static_cast<std::uint32_t>(sole.stream_of);
  against |= under_way(d);
  if constexpr (when == counted::after) against |= somebody_else(d);
  if (__builtin_expect(against != 0, 0)) return nullptr;  // one branch
  if (__builtin_expect(!(sole.functions & function), 0)) return when == counted::after || !somebody_else(d) ? nobody_asked : nullptr;
  const quick_answer state = __atomic_load_n(&sole.state, __ATOMIC_RELAXED);
  if (__builtin_expect(!state, 0)) return nullptr;
  std::uint64_t before;
  if constexpr (when == counted::after) {
    before = state->operations.load(std::memory_order_relaxed);
  } else if (__builtin_expect(!take_as_owner(d, state->operations, before), 0)) {
    return nullptr;
  }
  if (__builtin_expect(before + 1 < sole.quiet_until.load(std::memory_order_relaxed), 1)) return state;
  if constexpr (when == counted::before) add_to(d, state->operations, ~std::uint64_t{0});
  return nullptr;
}

// The rule of a call that acts in these classes here.
inline sole_rule& sole_of(descriptor& d, abi::class_set acts_as) { return acts_as & (abi::classes::stream_in | abi::classes::file_io) ? d.sole_in : d.sole_out; }

// Step two: files, streams that several threads use, and where a trigger has to be looked at.
// `function`: its quick_bit. `row`: its classes. `flags`: of a receive; 0 where there are none.
quick_answer ask_quickly(descriptor& d, std::uint64_t function, abi::class_set row, int flags);

// After a call that the rule said no to: what it moved. They return `result`.
long settle_failed(descriptor& d, quick_answer asked, bool input, counted when, long result);
long settle_file(const sole_rule& sole, quick_answer asked, long result);
long settle_otherwise(descriptor& d, quick_answer asked, bool input, counted when, long result);  // rules were changed meanwhile, or arrivals are held
void count_late(descriptor& d, const sole_rule& sole, quick_answer asked);  // others came between
template <counted when>
[[gnu::always_inline]] inline long settle(descriptor& d, quick_answer asked, bool input, long result) {
  const sole_rule& sole = input ? d.sole_in : d.sole_out;
  if (__builtin_expect_with_probability(result < 0, input, 0.6)) {
    if (when == counted::after && __builtin_expect(errno_here() == EAGAIN, 1)) return result;
    return settle_failed(d, asked, input, when, result);
  }
  const std::uint64_t moved = static_cast<std::uint64_t>(result);
  if (__builtin_expect(generation_of(d.head.load(std::memory_order_relaxed)) != page->generation.load(std::memory_order_relaxed) || (input && d.line.load(std::memory_order_relaxed)), 0) ||
      (__builtin_expect(asked != nobody_asked, 1) && __builtin_expect(__atomic_load_n(&sole.state, __ATOMIC_RELAXED) != asked || !add_on_this_cpu(*sole.lane, 1, moved), 0)))
    return settle_otherwise(d, asked, input, when, result);
  if (when == counted::after && __builtin_expect(asked != nobody_asked, 1)) {
    std::uint64_t before;
    if (__builtin_expect(!take_as_owner(d, asked->operations, before), 0)) count_late(d, sole, asked);
    else if (__builtin_expect(before + 1 >= sole.quiet_until.load(std::memory_order_relaxed), 0)) add_to(d, asked->operations, ~std::uint64_t{0});
  }
  add_to(d, input ? d.in_bytes : d.out_bytes, moved);
  return result;
}

inline constexpr int beside_the_queue = MSG_OOB | MSG_ERRQUEUE;  // receives that have nothing to do with what arrives in order

// The flags of a receive, among the arguments that follow the descriptor: the last int.
inline int flags_among() { return 0; }
template <class First, class... Rest>
inline int flags_among(First first, Rest... rest) {
  int here = 0;
  if constexpr (__is_same(First, int)) here = first;
  if constexpr ((__is_same(Rest, int) || ...)) here = flags_among(rest...);
  return here;
}

// Calls that only receive, so that their int is flags.
constexpr bool has_receive_flags(abi::class_set row) {
  return (row & abi::classes::stream_in) && (row & abi::classes::datagram_in) && !(row & abi::classes::file_io);
}

}  // namespace chaos::hooks
