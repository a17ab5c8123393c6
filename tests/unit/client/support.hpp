// Shared by the tests of the client library.
#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "chaos/breaker.hpp"

namespace chaos_test {
using namespace std::chrono_literals;

// A breaker on a clock that moves only when told to.
struct clocked {
  chaos::manual_clock clock;
  chaos::breaker breaker;

  explicit clocked(chaos::breaker_settings s = {}, std::string name = "test")
      : breaker(std::move(name), (s.clock = &clock, std::move(s))) {}

  void fail(int times = 1) {
    for (int i = 0; i < times; ++i) breaker.try_acquire().failure();
  }
  void succeed(int times = 1) {
    for (int i = 0; i < times; ++i) breaker.try_acquire().success();
  }
  chaos::state state() { return breaker.state(); }
  chaos::breaker_metrics metrics() { return breaker.metrics(); }
};

struct nanoseconds_range {
  std::chrono::nanoseconds low = std::chrono::nanoseconds::max(), high = std::chrono::nanoseconds::min();
  void add(std::chrono::nanoseconds d) {
    low = std::min(low, d);
    high = std::max(high, d);
  }
};

}  // namespace chaos_test

// So that a failed comparison prints names.
namespace chaos {
inline void PrintTo(state s, std::ostream* out) { *out << to_string(s); }
inline void PrintTo(source s, std::ostream* out) { *out << to_string(s); }
inline void PrintTo(transition_reason r, std::ostream* out) { *out << to_string(r); }
}  // namespace chaos
