// What a call shall meet: the fired rules composed in id order. Delays add; the first error or close wins and ends the
// list; corruptions compose. A dry run is counted and shown, and changes nothing.
#pragma once
#include <cstdint>

#include "preload/core/judge.hpp"

namespace chaos::effects {

enum class ending : std::uint8_t { none, error, reset, refuse, unreachable, blackhole, close, crash };

struct verdict {
  std::uint64_t delay_ns = 0;
  ending end = ending::none;
  bool late = false;
  std::int32_t error = 0;                 // with ending::error
  const core::fired_rule* ender = nullptr;
  std::uint64_t cap = UINT64_MAX;         // most bytes that this call may move
  bool limited = false;                   // the connection ends when `limit` bytes have been moved
  std::uint64_t limit = 0;
  bool drop = false;                      // the datagram is gone
  bool twice = false;                     // the datagram comes again
  std::uint32_t overtakers = 0;           // so many later datagrams come before this one
  std::uint64_t pause_ns = 0;             // the thread waits, whatever it asked for
  bool pause_all = false;                 // and so does every other one
  std::uint64_t until_ns = 0;             // with ending::blackhole: the connection closes then; 0: it does not
  std::uint64_t ends_ns = 0;              // the connection will be reset then, by this rule; 0: nobody says so
  std::uint32_t ends_rule = 0;
  bool torn = false;                      // with ending::error: cap bytes are written first
  const core::fired_rule* bandwidth = nullptr;
  std::uint16_t status = 0;               // the HTTP response says so instead; 0: what it says
  std::uint64_t gap_ns = 0;               // after what this call moves nothing more goes that way for so long
  unsigned corrupting = 0;                // how many of the fired rules flip bits
};

inline constexpr verdict no_verdict{};  // copied, which is quicker than made anew

// What the effects need to know of the call beyond the rule.
struct situation {
  abi::function_id function;
  abi::class_set acts_as;
  bool stream = false;
  std::uint64_t size = 0;       // bytes that the call could move
  std::uint64_t now_ns = 0;
  std::uint64_t passed = 0;     // bytes that the connection has carried, both ways
  std::uint64_t least = 1;      // bytes that the program does not want to be cut below (SO_RCVLOWAT)
  std::uint64_t grows = 0;      // bytes by which the call could make a file longer
  std::uint64_t outstanding = 0;
};

}  // namespace chaos::effects
