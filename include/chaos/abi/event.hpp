// One injection or annotation as it stands in the ring of the report page.
#pragma once
#include <cstdint>

namespace chaos::abi {

enum class event_kind : std::uint8_t { injection, annotation, attach, lapse, released };

namespace event_flags {
inline constexpr std::uint8_t dry_run = 1, late = 2, truncated = 4, blocked = 8, gated = 16, stack = 32;  // stack: stands in report_page::stacks
}

struct event {
  std::uint64_t time_ns;       // CLOCK_MONOTONIC
  std::int32_t pid, tid;
  std::uint32_t rule;          // id, 0 for annotations
  std::uint16_t function;      // function_id
  event_kind kind;
  std::uint8_t flags;
  std::int32_t error;          // errno or EAI_*, 0: none
  std::uint32_t connection;    // ordinal of the connection within process and endpoint; 0: no connection
  std::uint64_t operation;     // index of the decision within its scope, from 1
  std::uint64_t delay_ns;      // delay that was decided
  std::uint64_t bytes;
  std::uint64_t caller;        // return address in the target
  std::uint8_t effect;         // abi::effect
  std::uint8_t reserved[7];
  char text[112];              // what it acted on: "127.0.0.1:6379", a path, a name; annotations: "category\0text\0"
};
static_assert(sizeof(event) == 184);

}  // namespace chaos::abi
