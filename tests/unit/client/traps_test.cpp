// One test for each trap that circuit breakers are known to fall into; the names are those of the design's table.
#include <sys/time.h>

#include <future>
#include <thread>

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

TEST(Trap, AProbeThatNeverReturnsDoesNotWedgeHalfOpen) {
  clocked b(settings());
  b.fail();
  std::vector<chaos::permit> hung;
  for (int round = 0; round < 10; ++round) {
    b.clock.advance(b.breaker.retry_after());
    while (auto p = b.breaker.try_acquire()) hung.push_back(std::move(p));
    ASSERT_EQ(hung.size(), 3u * (round + 1)) << "new probes are admitted in each round";
    b.clock.advance(5s + 17ms);
    EXPECT_EQ(b.state(), state::open) << "the probes are given up";
  }
  b.clock.advance(10s);
  b.succeed(2);
  EXPECT_EQ(b.state(), state::closed);
  for (auto& p : hung) p.failure();
  EXPECT_EQ(b.state(), state::closed) << "what they say at last is late";
  EXPECT_EQ(b.metrics().late_results, 30u);
}

TEST(Trap, AResultFromAnEarlierStateDoesNotCloseTheCircuit) {
  clocked b(settings());
  std::vector<chaos::permit> early;
  for (int i = 0; i < 5; ++i) early.push_back(b.breaker.try_acquire());
  b.fail();
  b.clock.advance(10s + 1ms);
  auto probe = b.breaker.try_acquire();
  ASSERT_EQ(b.state(), state::half_open);
  for (auto& p : early) p.success();
  EXPECT_EQ(b.state(), state::half_open) << "successes of the closed time are no probes";
  probe.failure();
  EXPECT_EQ(b.state(), state::open);
  EXPECT_EQ(b.metrics().late_results, 5u);
}

TEST(Trap, AResultFromAnEarlierClosedStateDoesNotCountIntoTheNextWindow) {
  clocked b(settings());
  auto ok = b.breaker.try_acquire(), bad = b.breaker.try_acquire();
  b.fail();
  b.clock.advance(10s + 1ms);
  b.succeed(2);
  ASSERT_EQ(b.state(), state::closed);
  ok.success();
  bad.failure();
  EXPECT_EQ(b.state(), state::closed);
  EXPECT_EQ(b.metrics().buffered_calls, 0u);
  EXPECT_EQ(b.metrics().late_results, 2u);
}

TEST(Trap, AnIgnoredResultNeitherMintsNorKeepsAPermit) {
  clocked b(settings());
  b.fail();
  b.clock.advance(10s + 1ms);
  for (int i = 0; i < 1000; ++i) {
    std::vector<chaos::permit> row;
    while (auto p = b.breaker.try_acquire()) row.push_back(std::move(p));
    ASSERT_EQ(row.size(), 3u) << "round " << i;
    row[0].ignore();           // classified as ignored
    row[1] = chaos::permit();  // cancelled: dropped
    row[2].record(chaos::outcome::ignored);
    ASSERT_EQ(b.state(), state::half_open);
  }
  EXPECT_EQ(b.metrics().failed, 1u);
  EXPECT_EQ(b.metrics().successful, 0u);
}

TEST(Trap, HalfOpenAdmitsNPermitsToAnyNumberOfThreads) {
  clocked b(settings());
  b.fail();
  b.clock.advance(10s + 1ms);
  std::atomic<int> admitted{0};
  std::vector<std::thread> threads;
  std::mutex keep;
  std::vector<chaos::permit> permits;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i)
        if (auto p = b.breaker.try_acquire()) {
          ++admitted;
          std::lock_guard lock(keep);
          permits.push_back(std::move(p));
        }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(admitted, 3);
  EXPECT_EQ(b.metrics().not_permitted, 8u * 1000 - 3);
}

TEST(Trap, TheDeadlineIsNeverSeenWithoutItsState) {
  // A breaker that writes OPEN first and the deadline after admits a call in between, with the old deadline (0).
  clocked b({.failure_threshold = 1, .recovery_timeout = 10s});
  std::atomic<bool> stop{false};
  std::atomic<int> early{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t)
    readers.emplace_back([&] {
      while (!stop)
        if (b.state() == state::half_open) ++early;  // the clock stands still: an open one is never due
    });
  for (int i = 0; i < 20'000; ++i) {
    b.fail();
    b.breaker.reset();
  }
  stop = true;
  for (auto& t : readers) t.join();
  EXPECT_EQ(early, 0);
  EXPECT_EQ(b.metrics().transitions[0][1], 20'000u);
}

TEST(Trap, WallClocksAndInterposedClocksDoNotMoveTheRecovery) {
  // clock_gettime of this program is replaced below with one that stands still; the library does not use it.
  const std::uint64_t before = chaos::monotonic_ns();
  timespec frozen{};
  clock_gettime(CLOCK_MONOTONIC, &frozen);
  ASSERT_EQ(frozen.tv_sec, 12345) << "the replacement is in force";
  chaos::breaker b("real clock", {.failure_threshold = 1, .recovery_timeout = 1ms});
  b.try_acquire().failure();
  const auto deadline = std::chrono::nanoseconds(10s).count();
  while (b.state() == state::open && chaos::monotonic_ns() - before < static_cast<std::uint64_t>(deadline)) {
  }
  EXPECT_EQ(b.state(), state::half_open);
}

TEST(Trap, TheStateDoesNotLagUntilTheNextCall) {
  clocked b(settings());
  b.fail();
  b.clock.advance(10s + 1ms);
  EXPECT_EQ(b.state(), state::half_open) << "no call has come";
  EXPECT_EQ(b.metrics().state, state::half_open);
  auto p = b.breaker.try_acquire();
  b.clock.advance(5s + 17ms);
  EXPECT_EQ(b.state(), state::open) << "the probe's time is over, no call has come";
  b.clock.advance(10s);
  EXPECT_EQ(b.state(), state::half_open);
}

TEST(Trap, CallbacksRunOutsideTheLockAndInOrder) {
  clocked b(settings());
  std::vector<std::string> seen;
  auto s = b.breaker.on_transition([&](const chaos::transition& t) {
    seen.push_back(to_string(t.to));
    // Each of these takes the lock; a callback under the lock would never return.
    (void)b.breaker.metrics();
    if (t.to == state::open) b.breaker.reset();  // a transition from within: delivered after this one
  });
  auto done = std::async(std::launch::async, [&] { b.fail(); });
  // no wait_until: it would ask the clock that this program has replaced (below)
  const std::uint64_t began = chaos::monotonic_ns();
  while (done.wait_for(0s) != std::future_status::ready && chaos::monotonic_ns() - began < 10'000'000'000u) std::this_thread::yield();
  ASSERT_EQ(done.wait_for(0s), std::future_status::ready);
  EXPECT_EQ(seen, (std::vector<std::string>{"open", "closed"}));
}

}  // namespace

// Stands in for a fault injector that froze the clock of the whole program (gtest's own times included).
extern "C" int clock_gettime(clockid_t, struct timespec* t) noexcept {
  *t = {12345, 678};
  return 0;
}
