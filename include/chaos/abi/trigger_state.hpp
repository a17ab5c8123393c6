// What a rule's trigger remembers within one scope (a connection, a thread, a process, or the whole session: then it lies
// in the report page). Plain atomics: several threads may use one connection, several processes one session.
#pragma once
#include <atomic>
#include <cstdint>

namespace chaos::abi {

struct trigger_state {
  std::atomic<std::uint32_t> rule{0};
  std::atomic<std::uint32_t> next{0};         // chain of the owner (preload/runtime/states)
  std::atomic<std::uint64_t> operations{0};   // decisions so far
  std::atomic<std::uint64_t> fired{0};
  std::atomic<std::uint64_t> bytes{0};        // passed in this scope; for connections: where it began, plus 1
  std::atomic<std::uint64_t> fired_at_bytes{0};
  std::atomic<std::uint64_t> memory{0};       // the effect's own: correlation, burst state, consecutive losses
};
static_assert(sizeof(trigger_state) == 48);

}  // namespace chaos::abi
