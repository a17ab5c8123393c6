// HALF_OPEN: a few probes decide, and none of them can hold the breaker there.
#include "support.hpp"

namespace {
using namespace chaos_test;
using chaos::state;

chaos::breaker_settings settings() {
  return {.failure_threshold = 1,
          .recovery_timeout = 10s,
          .half_open_permits = 3,
          .success_threshold = 2,
          .half_open_timeout = 5s};
}
struct half_open_breaker : clocked {
  explicit half_open_breaker(chaos::breaker_settings s = settings()) : clocked(std::move(s)) {
    fail();
    clock.advance(breaker.retry_after());
  }
};

TEST(HalfOpen, ClosesAfterSuccessThreshold) {
  half_open_breaker b;
  b.succeed();
  EXPECT_EQ(b.state(), state::half_open);
  b.succeed();
  EXPECT_EQ(b.state(), state::closed);
}

TEST(HalfOpen, OneFailureOpensForTheWholeTimeAgain) {
  half_open_breaker b;
  b.succeed();
  b.fail();
  EXPECT_EQ(b.state(), state::open);
  EXPECT_GE(b.breaker.retry_after(), 10s);
}

TEST(HalfOpen, OnePermitAtATimeStillReachesTheThreshold) {
  auto s = settings();
  s.half_open_permits = 1;
  s.success_threshold = 4;
  half_open_breaker b(s);
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(b.state(), state::half_open);
    auto p = b.breaker.try_acquire();
    ASSERT_TRUE(p);
    EXPECT_FALSE(b.breaker.try_acquire()) << "one at a time";
    p.success();
  }
  EXPECT_EQ(b.state(), state::closed);
}

TEST(HalfOpen, AnIdleOneStaysAndKeepsItsSuccesses) {
  half_open_breaker b;
  b.succeed();
  b.clock.advance(1h);  // many times half_open_timeout, but no probe is out
  EXPECT_EQ(b.state(), state::half_open);
  b.succeed();
  EXPECT_EQ(b.state(), state::closed);
}

TEST(HalfOpen, EachRowOfProbesHasTheWholeTime) {
  half_open_breaker b;
  b.succeed();
  b.clock.advance(4s);
  auto p = b.breaker.try_acquire();
  b.clock.advance(4s);
  EXPECT_EQ(b.state(), state::half_open) << "this probe is out for 4 s of 5";
  p.success();
  EXPECT_EQ(b.state(), state::closed);
}

TEST(HalfOpen, EachProbeOfARowHasTheWholeTime) {
  auto s = settings();
  s.success_threshold = 3;
  half_open_breaker b(s);
  auto first = b.breaker.try_acquire();
  b.clock.advance(4s);
  auto second = b.breaker.try_acquire();
  first.success();
  b.clock.advance(4s);
  auto third = b.breaker.try_acquire();
  EXPECT_EQ(b.state(), state::half_open) << "the second is out for 4 s of 5, the third has just begun";
  second.success();
  b.clock.advance(4s);
  EXPECT_EQ(b.state(), state::half_open);
  third.success();
  EXPECT_EQ(b.state(), state::closed);
}

TEST(HalfOpen, ProbesThatComeLaterDoNotHideOneThatHangs) {
  auto s = settings();
  s.success_threshold = 3;
  half_open_breaker b(s);
  auto hung = b.breaker.try_acquire();
  b.clock.advance(4s);
  b.succeed(2);
  EXPECT_FALSE(b.breaker.try_acquire()) << "the third success can only be that of the hung one";
  b.clock.advance(5s + 17ms);
  EXPECT_EQ(b.state(), state::open);
  hung.success();
  EXPECT_EQ(b.metrics().late_results, 1u);
}

TEST(HalfOpen, ASlowProbeOpens) {
  auto s = settings();
  s.slow_call_duration = 1s;
  half_open_breaker b(s);
  auto p = b.breaker.try_acquire();
  b.clock.advance(1s);
  p.success();
  EXPECT_EQ(b.state(), state::open);
  EXPECT_EQ(b.metrics().slow_successful, 1u);
}

TEST(HalfOpen, AForgottenWindowAfterClosing) {
  half_open_breaker b({.failure_threshold = 0,
                       .failure_rate = 0.5,
                       .sliding_window = 10,
                       .minimum_calls = 1,
                       .success_threshold = 1});
  b.succeed();
  ASSERT_EQ(b.state(), state::closed);
  EXPECT_EQ(b.metrics().buffered_calls, 0u);
  b.succeed(2);
  b.fail();
  EXPECT_EQ(b.state(), state::closed) << "1 of 3: the failures before are forgotten";
}

}  // namespace
