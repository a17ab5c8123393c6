// What goes back to chaosd: counters and events. Never waits, never fails the target.
#pragma once
#include <cstdint>

#include "preload/core/judge.hpp"
#include "process.hpp"
#include "stack.hpp"

namespace chaos {

void count_match(const abi::rule& r);
// A call that waited may be told of when its rule has gone, and another one has its slot.
bool counts_for(unsigned slot, std::uint32_t rule);
void count_bytes(const core::judgement& j, std::uint64_t bytes);  // moved by a call that these rules matched

struct happening {
  abi::function_id function;
  std::uint64_t now_ns;
  std::uint64_t bytes;
  std::uint32_t connection;
  const char* text;            // what it acted on; copied
  const void* caller;
  std::uint8_t flags;
  const call_stack* stack;     // nullptr: nobody asked
};

// The stack of the call under way, while somebody watches stacks in a program that was started for it; else nullptr.
const call_stack* stack_if_watched(call_stack& room);

// What is told of a rule that took effect. It may be told when the rule has gone.
struct injection {
  std::uint32_t rule, slot;
  abi::effect kind;
  std::uint8_t flags;
  std::int32_t error;
  std::uint64_t operation, delay_ns;
};
injection injection_of(const core::fired_rule& f);

// Counts and publishes one injection.
void report_injection(const injection& i, const happening& h);
inline void report_injection(const core::fired_rule& f, const happening& h) { report_injection(injection_of(f), h); }
void add_delay(unsigned slot, std::uint32_t rule, std::uint64_t ns);

// An event that is no injection. `text` may hold NULs (annotations: "category\0text").
bool publish_plain(abi::event_kind kind, const char* text, std::size_t n);

}  // namespace chaos
