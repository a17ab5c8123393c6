// What a call shall meet: the fired rules composed in id order. Delays add; the first error or close wins and ends the
// list; corruptions compose. A dry run is counted and shown, and changes nothing.
#pragma once
#include <cstdint>

#include "preload/core/judge.hpp"

namespace chaos::effects {

enum class ending : std::uint8_t { none, error, reset, refuse, unreachable, blackhole };

struct verdict {
  std::uint64_t delay_ns = 0;
  ending end = ending::none;
  bool late = false;
  std::int32_t error = 0;                 // with ending::error
  const core::fired_rule* ender = nullptr;
  std::uint64_t cap = UINT64_MAX;         // most bytes that this call may move
  bool drop = false;                      // the datagram is gone
  unsigned corrupting = 0;                // how many of the fired rules flip bits
  bool acts() const { return delay_ns || end != ending::none || cap != UINT64_MAX || drop || corrupting; }
};

// What the effects need to know of the call beyond the rule.
struct situation {
  abi::function_id function;
  abi::class_set acts_as;
  bool stream = false;
  std::uint64_t size = 0;       // bytes that the call could move
  std::uint64_t after_ns = 0;   // age of the connection's rule state, for "after T"
};

}  // namespace chaos::effects
