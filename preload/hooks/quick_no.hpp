// The usual fate of a call on a matched connection or file: one rule is asked, or none, and its trigger says no. That is settled
// here, in a few dozen instructions, before the call and after it. Whatever else may be the matter goes the common road, and nothing
// has been counted for it yet.
#pragma once
#include "preload/runtime/descriptors.hpp"
#include "preload/runtime/states.hpp"

namespace chaos::hooks {

// What is remembered while the call is made. In two registers.
struct quick_answer {
  core::rule_state* state;       // where the operation was counted; nullptr: no rule is about this function
  std::uint16_t slot;            // of the rule's counters
  bool no;                       // the call is to be made, and then settled; false: the common road
  bool input, file;
};

// `function`: its quick_bit. `row`: its classes. `flags`: of a receive; 0 where there are none.
quick_answer ask_quickly(descriptor& d, std::uint64_t function, abi::class_set row, int flags);

// After a call that the rule said no to: what it moved. An input that found nothing was no operation. Returns `result`.
long settle(quick_answer a, descriptor& d, long result);

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
