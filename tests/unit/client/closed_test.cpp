// CLOSED: what counts, and what opens it.
#include "support.hpp"

namespace {
using namespace chaos_test;
using chaos::state;

TEST(Closed, OpensAfterFailuresInARow) {
  clocked b({.failure_threshold = 5, .failure_rate = 0});
  b.fail(4);
  EXPECT_EQ(b.state(), state::closed);
  b.fail();
  EXPECT_EQ(b.state(), state::open);
  EXPECT_EQ(b.metrics().failed, 5u);
}

TEST(Closed, ASuccessBreaksTheRow) {
  clocked b({.failure_threshold = 3, .failure_rate = 0});
  for (int i = 0; i < 50; ++i) {
    b.fail(2);
    b.succeed();
  }
  EXPECT_EQ(b.state(), state::closed);
  b.fail(3);
  EXPECT_EQ(b.state(), state::open);
}

TEST(Closed, OpensAtTheRateOnceThereAreMinimumCalls) {
  clocked b({.failure_threshold = 0, .failure_rate = 0.5, .sliding_window = 20, .minimum_calls = 10});
  for (int i = 0; i < 4; ++i) {
    b.succeed();
    b.fail();
  }
  EXPECT_EQ(b.state(), state::closed) << "8 calls are fewer than minimum_calls";
  EXPECT_EQ(b.metrics().failure_rate, -1);
  b.succeed();
  b.fail();
  EXPECT_EQ(b.state(), state::open);
  EXPECT_EQ(b.metrics().failure_rate, 0.5);
}

TEST(Closed, OldFailuresLeaveTheWindow) {
  clocked b({.failure_threshold = 0, .failure_rate = 0.5, .sliding_window = 10, .minimum_calls = 10});
  b.fail(4);
  b.succeed(20);
  b.fail(4);
  EXPECT_EQ(b.state(), state::closed);
  EXPECT_EQ(b.metrics().failure_rate, 0.4);
  b.fail();
  EXPECT_EQ(b.state(), state::open);
}

TEST(Closed, IgnoredResultsDoNotCount) {
  clocked b({.failure_threshold = 2});
  b.fail();
  for (int i = 0; i < 100; ++i) b.breaker.try_acquire().ignore();
  EXPECT_EQ(b.metrics().buffered_calls, 1u);
  EXPECT_EQ(b.metrics().ignored, 100u);
  b.fail();
  EXPECT_EQ(b.state(), state::open) << "an ignored result is no success either";
}

TEST(Closed, CallReturnsTheValueLive) {
  clocked b;
  auto r = b.breaker.call([] { return 42; });
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r.value(), 42);
  EXPECT_EQ(r.source(), chaos::source::live);
  EXPECT_EQ(r.cause(), nullptr);
  EXPECT_EQ(b.metrics().successful, 1u);
}

TEST(Closed, CallTurnsAnExceptionIntoAFailure) {
  clocked b;
  auto r = b.breaker.call([]() -> int { throw std::runtime_error("refused"); });
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().kind, chaos::failure_kind::error);
  EXPECT_EQ(r.error().message(), "refused");
  EXPECT_THROW(r.value(), std::runtime_error);
  EXPECT_EQ(b.metrics().failed, 1u);
}

}  // namespace
