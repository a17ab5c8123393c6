// What a breaker counted, at one moment.
//
//   auto m = redis.metrics();
//   std::cout << m.failure_rate << ' ' << m.not_permitted << '\n';
//
// Thread-safety: a value. The counters are read one after the other: their sum may lag by the calls in flight.
// Units: rates are fractions of one, -1 while there are fewer than minimum_calls in the window.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "word.hpp"

namespace chaos {

inline constexpr unsigned state_count = 6;

struct breaker_metrics {
  std::string name;
  chaos::state state = chaos::state::closed;
  std::uint64_t successful = 0, failed = 0, ignored = 0;  // verdicts that counted (slow ones included)
  std::uint64_t slow_successful = 0, slow_failed = 0;
  std::uint64_t late_results = 0;   // results of an earlier state: changed nothing
  std::uint64_t not_permitted = 0;  // rejected
  std::uint64_t fallbacks = 0, fallback_failures = 0;
  std::uint64_t buffered_calls = 0;  // calls in the window
  double failure_rate = -1, slow_call_rate = -1;
  std::array<std::array<std::uint64_t, state_count>, state_count> transitions{};  // [from][to]
  std::uint64_t listener_errors = 0, transitions_lost = 0;  // lost by listeners, not by the breaker
};

}  // namespace chaos
