// The rule page: chaosd writes it, every target maps it read-only.
//
// Publishing: fill the bank that is not in use, with its `generation` first set to 0 and at last to the new one; then
// store `generation`, then `armed_classes`, then FUTEX_WAKE `generation`. Reading: take `generation`, use bank
// generation % 2, and before acting on what was read check that the bank still carries it (a seqlock without a lock).
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "rule.hpp"

namespace chaos::abi {

inline constexpr std::uint64_t rule_page_magic = 0x63686130'72756c65;    // "cha0rule"
inline constexpr std::uint32_t abi_version = 5;

inline constexpr std::uint64_t lease_ns = 3'000'000'000;         // how far ahead of now a lease may lie
inline constexpr std::uint64_t lease_renewal_ns = 1'000'000'000;

// Loopback endpoints that chaosd owns for non-blocking connects: a port where nobody listens, and a listener whose
// backlog is full. 0: none to be had.
struct sink_ports {
  std::uint16_t refuse_v4, refuse_v6, blackhole_v4, blackhole_v6;
};

struct alignas(64) rule_bank {
  std::atomic<std::uint32_t> generation;  // 0 while being written
  std::uint32_t count;                    // rules in use, from the front
  std::uint64_t checksum;                 // fnv1a-64 over rules[0..count) and text; checked by tests and `doctor`
  std::uint32_t text_used;
  std::uint32_t reserved[11];
  rule rules[rule_max];
  char text[text_pool_bytes];             // text[0] is NUL
};

struct rule_page {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t bytes;                    // sizeof(rule_page)
  std::uint64_t created_ns;               // CLOCK_REALTIME; tells one session from the next in the same folder
  std::uint64_t reserved0[5];

  // one cache line: all that a call reads while nothing matches
  alignas(64) std::atomic<class_set> armed_classes;  // 0 while paused, stopped or empty
  std::atomic<std::uint32_t> generation;             // futex word; 0: no rules were ever published
  std::atomic<std::uint64_t> lease_until_ns;         // CLOCK_MONOTONIC
  std::atomic<std::uint32_t> stop;                   // `chaos-ctl stop`: 1 until the daemon clears it
  std::atomic<std::uint32_t> daemon_pid;             // 0: none has been here
  std::uint64_t session_seed;
  sink_ports sinks;
  std::atomic<std::uint32_t> breaker_generation;     // changes with every breaker command, and to ask for counters
  std::atomic<std::uint32_t> stacks_wanted;          // events carry their call stacks: somebody watches them

  // Commands in force, by the name of the breaker. Written command first, then sequence (higher than any other's in the
  // page), then breaker_generation; `command` is a number of breaker_commands.def.
  struct breaker_command { char name[56]; std::atomic<std::uint32_t> command; std::atomic<std::uint32_t> sequence; };
  static constexpr unsigned breaker_max = 64;
  alignas(64) breaker_command breakers[breaker_max];

  rule_bank banks[2];
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);

}  // namespace chaos::abi
