// OPEN: rejects until its time is over, and the time is the one asked for.
#include "support.hpp"

namespace {
using namespace chaos_test;
using chaos::state;

TEST(Open, RejectsWithTheTimeToWait) {
  clocked b({.failure_threshold = 1, .recovery_timeout = 10s});
  b.fail();
  b.clock.advance(4s);
  auto permit = b.breaker.try_acquire();
  EXPECT_FALSE(permit);
  EXPECT_GE(permit.retry_after(), 6s);
  EXPECT_LE(permit.retry_after(), 6s + 1ms);
  EXPECT_EQ(b.metrics().not_permitted, 1u);
}

TEST(Open, CallIsNotMade) {
  clocked b({.failure_threshold = 1});
  b.fail();
  int calls = 0;
  auto r = b.breaker.call([&] { return ++calls; });
  EXPECT_EQ(calls, 0);
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().kind, chaos::failure_kind::open);
  try {
    r.value();
    FAIL() << "value() of a rejection must throw";
  } catch (const chaos::open_error& e) {
    EXPECT_GT(e.retry_after, 29s);
  }
}

TEST(Open, IsNeverProbedEarly) {
  for (const auto recovery : {1ms, 17ms, 500ms, 30000ms}) {
    clocked b({.failure_threshold = 1, .recovery_timeout = recovery});
    b.fail();
    b.clock.advance(recovery - 1ns);
    EXPECT_FALSE(b.breaker.try_acquire()) << recovery.count();
    b.clock.advance(1ns + 66us);
    EXPECT_TRUE(b.breaker.try_acquire()) << recovery.count();
  }
}

TEST(Open, GrowsWithEachOpeningInARowUpToItsMaximumAndStartsAgainAfterClosing) {
  clocked b({.failure_threshold = 1,
             .recovery_timeout = 1s,
             .recovery_growth = 2,
             .recovery_timeout_max = 5s,
             .half_open_permits = 1,
             .success_threshold = 1});
  b.fail();
  for (const auto expected : {1s, 2s, 4s, 5s, 5s}) {
    EXPECT_NEAR(static_cast<double>(b.breaker.retry_after().count()),
                static_cast<double>(std::chrono::nanoseconds(expected).count()), 7e4);
    b.clock.advance(b.breaker.retry_after());
    b.breaker.try_acquire().failure();
  }
  b.clock.advance(b.breaker.retry_after());
  b.breaker.try_acquire().success();
  ASSERT_EQ(b.state(), state::closed);
  b.fail();
  EXPECT_LE(b.breaker.retry_after(), 1s + 66us);
}

TEST(Open, JitterStaysInItsRangeAndDiffers) {
  clocked b({.failure_threshold = 1, .recovery_timeout = 10s, .recovery_jitter = 0.2, .jitter_seed = 7});
  nanoseconds_range seen;
  for (int i = 0; i < 200; ++i) {
    b.fail();
    seen.add(b.breaker.retry_after());
    b.breaker.reset();
  }
  EXPECT_GE(seen.low, 8s);
  EXPECT_LE(seen.high, 12s + 66us);
  EXPECT_GT(seen.high - seen.low, 3s) << "200 draws from ±2 s";
}

TEST(Open, SurvivesTheWrapOfItsDeadlineField) {
  // 2^40 ticks of 65,536 ns are 834 days.
  const std::uint64_t wrap_ns = 1ull << 56;
  chaos::manual_clock clock(wrap_ns - 5'000'000'000);
  chaos::breaker b("wrap", {.failure_threshold = 1, .recovery_timeout = 10s, .clock = &clock});
  b.try_acquire().failure();
  EXPECT_EQ(b.state(), state::open);
  clock.advance(6s);
  EXPECT_EQ(b.state(), state::open) << "past the wrap, before the deadline";
  EXPECT_GT(b.retry_after(), 3s);
  clock.advance(5s);
  EXPECT_EQ(b.state(), state::half_open);
}

}  // namespace
