// The count window is exact: it is checked against a deque of the last N calls, a million times.
#include <deque>
#include <random>

#include "support.hpp"

namespace {
using namespace chaos_test;

TEST(Window, HasNoMismatchWithABruteForceWindowInAMillionChecks) {
  std::uint64_t checks = 0;
  for (std::uint32_t seed = 1; checks < 1'000'000; ++seed) {
    std::mt19937 random(seed);
    const std::uint32_t n = 1 + random() % 130;
    chaos::manual_clock clock;
    // metrics_only: counts for ever, so that the window never starts anew.
    chaos::breaker b("w", {.sliding_window = n, .minimum_calls = 1, .clock = &clock});
    b.metrics_only();
    std::deque<bool> window;
    std::uint64_t failures = 0;
    const unsigned percent = random() % 101;
    for (int i = 0; i < 4000; ++i, ++checks) {
      const bool failed = random() % 100 < percent;
      failed ? b.try_acquire().failure() : b.try_acquire().success();
      window.push_back(failed);
      failures += failed;
      if (window.size() > n) {
        failures -= window.front();
        window.pop_front();
      }
      const auto m = b.metrics();
      ASSERT_EQ(m.buffered_calls, window.size()) << "seed " << seed << " call " << i;
      ASSERT_EQ(m.failure_rate, static_cast<double>(failures) / static_cast<double>(window.size()))
          << "seed " << seed << " call " << i;
    }
  }
}

TEST(Window, RingHasNoMismatchInAMillionChecks) {
  std::mt19937 random(42);
  for (int round = 0; round < 100; ++round) {
    const std::uint32_t n = 1 + random() % 200;
    const unsigned percent = random() % 101;
    chaos::detail::event_ring ring(n);
    std::deque<bool> window;
    std::uint32_t events = 0;
    for (std::uint64_t call = 1; call <= 10'000; ++call) {
      const bool event = random() % 100 < percent;
      if (event) ring.push(call);
      window.push_back(event);
      events += event;
      if (window.size() > n) {
        events -= window.front();
        window.pop_front();
      }
      ASSERT_EQ(ring.count_at(call), events) << "N " << n << " call " << call;
    }
  }
}

TEST(TimeWindow, OldCallsLeaveIt) {
  clocked b({.failure_threshold = 0, .failure_rate = 0.5, .monitoring_period = 16s, .minimum_calls = 4});
  b.fail(3);
  b.clock.advance(17s);
  b.succeed(3);
  b.fail();
  EXPECT_EQ(b.state(), chaos::state::closed);
  EXPECT_EQ(b.metrics().buffered_calls, 4u);
  EXPECT_EQ(b.metrics().failure_rate, 0.25);
}

TEST(TimeWindow, OpensAtTheRate) {
  clocked b({.failure_threshold = 0, .failure_rate = 0.5, .monitoring_period = 16s, .minimum_calls = 10});
  for (int i = 0; i < 9; ++i) {
    b.clock.advance(1s);
    i % 2 ? b.fail() : b.succeed();
  }
  EXPECT_EQ(b.state(), chaos::state::closed);
  b.fail();
  EXPECT_EQ(b.state(), chaos::state::open);
}

TEST(TimeWindow, IsEmptyAfterClosing) {
  clocked b({.failure_threshold = 1, .monitoring_period = 1h, .recovery_timeout = 1s, .success_threshold = 1});
  b.succeed(20);
  b.fail();
  b.clock.advance(2s);
  b.succeed();
  ASSERT_EQ(b.state(), chaos::state::closed);
  EXPECT_EQ(b.metrics().buffered_calls, 0u);
}

TEST(TimeWindow, NeverHoldsMoreThanThePeriodNorLessThanFifteenSixteenths) {
  std::mt19937 random(7);
  chaos::manual_clock clock;
  chaos::breaker b("t", {.monitoring_period = 16s, .minimum_calls = 1, .clock = &clock});
  b.metrics_only();
  std::deque<std::uint64_t> times;
  for (int i = 0; i < 20'000; ++i) {
    clock.advance(std::chrono::milliseconds(random() % 200));
    random() % 4 ? b.try_acquire().success() : b.try_acquire().failure();
    times.push_back(clock.now_ns());
    while (times.front() + 16'000'000'000 <= clock.now_ns()) times.pop_front();
    const auto at_least = std::count_if(times.begin(), times.end(),
                                        [&](std::uint64_t t) { return t + 15'000'000'000 > clock.now_ns(); });
    const auto m = b.metrics();
    ASSERT_LE(m.buffered_calls, times.size()) << i;
    ASSERT_GE(m.buffered_calls, static_cast<std::uint64_t>(at_least)) << i;
  }
}

TEST(SlowCalls, OpenAtTheirRate) {
  clocked b({.failure_threshold = 0,
             .failure_rate = 0,
             .minimum_calls = 4,
             .slow_call_duration = 100ms,
             .slow_call_rate = 0.5});
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(b.state(), chaos::state::closed);
    auto p = b.breaker.try_acquire();
    b.clock.advance(i % 2 ? 100ms : 99ms);
    p.success();
  }
  EXPECT_EQ(b.state(), chaos::state::open);
  EXPECT_EQ(b.metrics().slow_successful, 2u);
  EXPECT_EQ(b.metrics().slow_call_rate, 0.5);
}

}  // namespace
