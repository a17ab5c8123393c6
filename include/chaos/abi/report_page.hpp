// The report page: targets write it, chaosd reads it with pread and trusts nothing in it.
//
// The ring loses the oldest, and knows how many: a writer takes a ticket, marks the slot odd, writes, marks it even.
// A reader that finds a slot not yet at its ticket waits a moment, then counts it as lost (its writer died).
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "event.hpp"
#include "rule.hpp"
#include "trigger_state.hpp"

namespace chaos::abi {

inline constexpr std::uint64_t report_page_magic = 0x63686130'72657074;  // "cha0rept"
inline constexpr unsigned attach_max = 512;
inline constexpr unsigned ring_slots = 4096;  // a power of two
inline constexpr unsigned ordinal_slots = 1024;
inline constexpr unsigned lane_max = 128;     // CPUs that have counters of their own
inline constexpr unsigned stack_slots = 128;  // a power of two: the stacks of the latest events, while they are asked for
inline constexpr unsigned stack_frame_max = 64;

struct rule_counters {
  std::atomic<std::uint32_t> rule;   // id that these count for; chaosd zeroes the line before it gives a slot out again
  std::uint32_t reserved;
#define RULE_COUNTER(name, unit, meaning) std::atomic<std::uint64_t> name;
#define SESSION_COUNTER(name, unit, meaning)
#include "counters.def"
#undef RULE_COUNTER
#undef SESSION_COUNTER
  trigger_state shared;              // --scope session
  std::atomic<std::uint64_t> bucket; // bandwidth --shared: token bucket, next free time in ns
  std::uint64_t reserved1[2];
};
static_assert(sizeof(rule_counters) == 128);

// What every matched call adds to, for one rule and CPU. The rule's total is its rule_counters and all of its lanes.
struct alignas(16) rule_lane { std::atomic<std::uint64_t> matched, bytes; };

// A receive threshold (SO_RCVLOWAT) that a shim raised while it holds data back: which socket, and what it was before.
// A process that is killed leaves it, and who shares the socket puts it right.
struct threshold_slot { std::atomic<std::uint64_t> inode; std::atomic<std::int32_t> before; std::int32_t reserved; };
inline constexpr unsigned threshold_slots = 1024;

struct session_counters {
#define RULE_COUNTER(name, unit, meaning)
#define SESSION_COUNTER(name, unit, meaning) std::atomic<std::uint64_t> name;
#include "counters.def"
#undef RULE_COUNTER
#undef SESSION_COUNTER
};

namespace attach_limits {  // what the shim found that it can not do in this process
inline constexpr std::uint32_t no_stacks = 1;       // was not started for it (CHAOS_STACKS), or it can not be done here
inline constexpr std::uint32_t seccomp = 2;
inline constexpr std::uint32_t own_allocator = 4;   // malloc of the program itself wins over the hook
inline constexpr std::uint32_t io_uring = 8;        // io_uring was asked for
}  // namespace attach_limits

struct attach_slot {
  std::atomic<std::int32_t> pid;         // 0: free; -1: being filled
  std::uint32_t ordinal;                 // nth process of this executable in the session, from 1
  std::uint64_t start_ticks;             // field 22 of /proc/PID/stat: tells a reused pid
  std::uint64_t attached_ns;             // CLOCK_MONOTONIC
  std::uint64_t run;                     // CHAOS_RUN, 0: none
  std::atomic<std::uint32_t> limits;     // attach_limits
  std::atomic<std::uint32_t> generation; // latest rules this process has looked at
  std::int32_t parent;
  std::uint32_t functions;               // hooked functions for which a real one was found
  char comm[16];
  char executable[128];                  // the tail of it, if longer
};
static_assert(sizeof(attach_slot) == 192);

struct ordinal_slot { std::atomic<std::uint64_t> key; std::atomic<std::uint64_t> next; };  // executable hash → ordinals given out

struct breaker_slot {
  std::atomic<std::int32_t> pid;         // 0: free; -1: being filled
  std::atomic<std::uint32_t> state;
  std::atomic<std::uint64_t> calls_ok, calls_failed, rejected;
  std::atomic<std::uint64_t> changed_ns; // of the state, at first when the slot was taken; before attached_ns of the
                                         // process: what an earlier program of this pid left
  char name[56];
};

struct ring_slot { std::atomic<std::uint64_t> sequence; event entry; };  // 2·ticket+1: being written; 2·ticket+2: done
static_assert(sizeof(ring_slot) == 192);

// The call stack of the event with the same ticket; `sequence` as in the ring, so that a stack is never shown with another's
// event. As text: a program that has ended by the time it is read can not be asked what its addresses meant.
struct stack_slot {
  std::atomic<std::uint64_t> sequence;
  std::uint32_t bytes, reserved;
  char text[4080];                        // "module(function+0x1f)\0", one after the other, the innermost call first
};
static_assert(sizeof(stack_slot) == 4096);

struct report_page {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t bytes;
  std::uint64_t reserved0[6];
  alignas(64) std::atomic<std::uint64_t> ring_head;  // next ticket
  alignas(64) session_counters session;
  alignas(64) rule_counters rules[rule_max];
  attach_slot attached[attach_max];
  ordinal_slot ordinals[ordinal_slots];
  static constexpr unsigned breaker_max = 128;
  breaker_slot breakers[breaker_max];
  alignas(64) ring_slot ring[ring_slots];
  threshold_slot thresholds[threshold_slots];
  alignas(64) rule_lane lanes[lane_max][rule_max];
  stack_slot stacks[stack_slots];
};

}  // namespace chaos::abi
