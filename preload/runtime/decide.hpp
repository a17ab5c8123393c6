// From facts to a verdict, with what only the runtime knows: trigger states, random keys, thread names, callers.
#pragma once
#include "descriptors.hpp"
#include "preload/effects/compose.hpp"
#include "report.hpp"

namespace chaos {

struct decision {
  core::judgement judged;
  effects::verdict verdict;
  abi::function_id function;
  std::uint64_t now_ns;         // 0: nothing was about to take effect, and nobody looked
};

// `d` is nullptr for calls without a descriptor. Nothing is decided when the lease has lapsed or the rules changed
// underneath; `out` is then empty.
void decide(const core::facts_of_call& facts, const std::uint64_t (&mask)[4], descriptor* d, const rule_view& v, const void* caller,
            decision& out);

// There was nothing to decide after all (a read that found an empty queue): as if it had never been asked.
void undecide(decision& made);
void take_match_back(const core::judgement& judged, unsigned i);  // of the rule that was asked as the i-th one

// One event and count for each rule that took effect. `text` is made from the descriptor, or given.
void report_fired(const decision& made, descriptor& d, int fd, std::uint64_t bytes, const void* caller, std::uint8_t flags = 0);
void report_fired(const decision& made, const char* text, std::uint32_t connection, std::uint64_t bytes, const void* caller,
                  std::uint8_t flags = 0);

}  // namespace chaos
