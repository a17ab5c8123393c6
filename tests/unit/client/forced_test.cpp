// FORCED_OPEN, DISABLED, METRICS_ONLY, trip() and reset().
#include "support.hpp"

namespace {
using namespace chaos_test;
using chaos::state;

TEST(ForcedOpen, RejectsForEver) {
  clocked b;
  b.breaker.force_open();
  b.clock.advance(24h * 1000);
  EXPECT_EQ(b.state(), state::forced_open);
  EXPECT_FALSE(b.breaker.try_acquire());
  b.breaker.reset();
  EXPECT_TRUE(b.breaker.try_acquire());
}

TEST(Disabled, AdmitsAndCountsNothing) {
  clocked b({.failure_threshold = 1});
  b.breaker.disable();
  b.fail(100);
  b.succeed(100);
  EXPECT_EQ(b.state(), state::disabled);
  EXPECT_EQ(b.metrics().failed, 0u);
  EXPECT_EQ(b.metrics().successful, 0u);
}

TEST(MetricsOnly, CountsAndNeverOpens) {
  clocked b({.failure_threshold = 1});
  b.breaker.metrics_only();
  b.fail(50);
  b.succeed(50);
  EXPECT_EQ(b.state(), state::metrics_only);
  EXPECT_EQ(b.metrics().failed, 50u);
  EXPECT_EQ(b.metrics().successful, 50u);
  EXPECT_EQ(b.metrics().failure_rate, 0.5);
}

TEST(Trip, OpensAndRecoversByItself) {
  clocked b({.recovery_timeout = 1s, .half_open_permits = 1, .success_threshold = 1});
  b.breaker.trip();
  EXPECT_EQ(b.state(), state::open);
  b.clock.advance(2s);
  b.succeed();
  EXPECT_EQ(b.state(), state::closed);
}

TEST(Reset, MakesPermitsThatAreOutLate) {
  clocked b({.failure_threshold = 1});
  auto before = b.breaker.try_acquire();
  b.breaker.reset();
  before.failure();
  EXPECT_EQ(b.state(), state::closed);
  EXPECT_EQ(b.metrics().late_results, 1u);
}

TEST(Forced, EachIsATransitionWithItsReason) {
  clocked b;
  std::vector<std::string> seen;
  auto s = b.breaker.on_transition([&](const chaos::transition& t) {
    seen.push_back(std::string(to_string(t.from)) + ">" + to_string(t.to) + ":" + to_string(t.reason));
  });
  b.breaker.force_open();
  b.breaker.force_open();  // no change, no transition
  b.breaker.disable();
  b.breaker.metrics_only();
  b.breaker.reset();
  EXPECT_EQ(seen, (std::vector<std::string>{"closed>forced_open:forced", "forced_open>disabled:forced",
                                            "disabled>metrics_only:forced", "metrics_only>closed:reset"}));
}

}  // namespace
