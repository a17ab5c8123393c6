// Retry, bulkhead and time-out: each alone, and together with the breaker.
#include <future>
#include <thread>

#include "chaos/bulkhead.hpp"
#include "chaos/retry.hpp"
#include "chaos/timeout.hpp"
#include "support.hpp"

namespace {
using namespace chaos_test;
using chaos::failure_kind;

struct sleeps {
  std::vector<std::chrono::nanoseconds> all;
  std::function<void(std::chrono::nanoseconds)> recorder() {
    return [this](std::chrono::nanoseconds d) { all.push_back(d); };
  }
};

TEST(Retry, UntilItWorks) {
  sleeps s;
  int calls = 0;
  auto r = chaos::retry({.max_attempts = 5, .sleep = s.recorder()}, [&] {
    if (++calls < 3) throw std::runtime_error("not yet");
    return calls;
  });
  EXPECT_EQ(r.value(), 3);
  EXPECT_EQ(s.all.size(), 2u);
}

TEST(Retry, GivesUpAfterMaxAttemptsWithTheLastFailure) {
  sleeps s;
  int calls = 0;
  auto r = chaos::retry({.max_attempts = 4, .sleep = s.recorder()},
                        [&]() -> int { throw std::runtime_error("attempt " + std::to_string(++calls)); });
  EXPECT_EQ(r.error().message(), "attempt 4");
  EXPECT_EQ(calls, 4);
}

TEST(Retry, WaitsWithFullJitterInGrowingBounds) {
  sleeps s;
  for (std::uint64_t seed = 1; seed <= 200; ++seed)
    (void)chaos::retry({.max_attempts = 5,
                        .backoff = 100ms,
                        .backoff_max = 300ms,
                        .growth = 2,
                        .sleep = s.recorder(),
                        .jitter_seed = seed * 0x9e3779b97f4a7c15},
                       []() -> int { throw 1; });
  ASSERT_EQ(s.all.size(), 800u);
  nanoseconds_range by_attempt[4];
  for (std::size_t i = 0; i < s.all.size(); ++i) by_attempt[i % 4].add(s.all[i]);
  const std::chrono::nanoseconds bound[] = {100ms, 200ms, 300ms, 300ms};
  for (int i = 0; i < 4; ++i) {
    EXPECT_LE(by_attempt[i].high, bound[i]);
    EXPECT_GT(by_attempt[i].high, bound[i] * 9 / 10);
    EXPECT_LT(by_attempt[i].low, bound[i] / 10);
  }
}

TEST(Retry, ARejectionOfABreakerIsNotRetried) {
  clocked b({.failure_threshold = 2});
  sleeps s;
  int calls = 0;
  auto r = chaos::retry({.max_attempts = 10, .sleep = s.recorder()}, [&] {
    return b.breaker.call([&]() -> int { throw std::runtime_error(std::to_string(++calls)); });
  });
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(r.error().kind, failure_kind::open);
}

TEST(RetryBudget, StopsRetriesWhenEverythingFails) {
  chaos::retry_budget budget;
  sleeps s;
  int calls = 0;
  for (int i = 0; i < 100; ++i)
    (void)chaos::retry({.max_attempts = 3, .budget = &budget, .sleep = s.recorder()}, [&]() -> int {
      ++calls;
      throw 1;
    });
  // 10 tokens: failures 1 to 4 leave more than 5 and are retried, unless they were third attempts.
  EXPECT_LE(calls, 104);
  EXPECT_GE(calls, 102);
  EXPECT_EQ(budget.tokens(), 0);
}

TEST(RetryBudget, EarnsATenthWithEachSuccess) {
  chaos::retry_budget budget;
  for (int i = 0; i < 10; ++i) budget.failure();
  EXPECT_FALSE(budget.failure());
  for (int i = 0; i < 60; ++i) budget.success();
  EXPECT_DOUBLE_EQ(budget.tokens(), 6);
  EXPECT_FALSE(budget.failure()) << "5 is not more than half";
  for (int i = 0; i < 1000; ++i) budget.success();
  EXPECT_DOUBLE_EQ(budget.tokens(), 10);
  EXPECT_TRUE(budget.failure());
}

TEST(Retry, WhatIsNotRetriedAnywayTakesNoToken) {
  chaos::retry_budget budget;
  chaos::breaker open{"open"};
  open.force_open();
  for (int i = 0; i < 20; ++i) {
    auto r = chaos::retry({.budget = &budget}, [&] { return open.call([] { return 1; }); });
    EXPECT_EQ(r.error().kind, failure_kind::open);
  }
  EXPECT_DOUBLE_EQ(budget.tokens(), 10) << "else an outage of a minute would leave none for the hour after it";
}

TEST(Retry, WrongSettingsNameTheField) {
  const auto f = [] { return 1; };
  EXPECT_THROW((void)chaos::retry({.max_attempts = 0}, f), std::invalid_argument);
  EXPECT_THROW((void)chaos::retry({.backoff = 3s, .backoff_max = 1s}, f), std::invalid_argument);
  EXPECT_THROW((void)chaos::retry({.growth = 0.5}, f), std::invalid_argument);
  EXPECT_THROW(chaos::retry_budget(0), std::invalid_argument);
  EXPECT_THROW(chaos::bulkhead("b", {.max_concurrent = 0}), std::invalid_argument);
  EXPECT_THROW(chaos::bulkhead("b", {.max_wait = -1s}), std::invalid_argument);
  EXPECT_THROW((void)chaos::with_timeout(0ms, f), std::invalid_argument);
}

TEST(Bulkhead, AdmitsNAtATime) {
  chaos::bulkhead b("db", {.max_concurrent = 2});
  auto one = b.try_acquire();
  {
    auto two = b.try_acquire();
    EXPECT_TRUE(one && two);
    EXPECT_FALSE(b.try_acquire());
    auto r = b.call([] { return 1; });
    EXPECT_EQ(r.error().kind, failure_kind::full);
  }
  EXPECT_EQ(b.call([] { return 1; }).value(), 1);
  EXPECT_EQ(b.inside(), 1u);
  EXPECT_EQ(b.rejected(), 2u);
}

TEST(Bulkhead, GivesThePlaceBackWhenTheCallThrows) {
  chaos::bulkhead b("db", {.max_concurrent = 1});
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(b.call([]() -> int { throw std::runtime_error("x"); }).error().message(), "x");
  EXPECT_EQ(b.inside(), 0u);
}

TEST(Bulkhead, AWaiterGetsThePlaceThatIsFreed) {
  chaos::bulkhead b("db", {.max_concurrent = 1, .max_wait = 20s});
  auto held = b.try_acquire();
  auto waiter = std::async(std::launch::async, [&] { return static_cast<bool>(b.try_acquire()); });
  held = chaos::bulkhead::place();
  EXPECT_TRUE(waiter.get());
}

TEST(Bulkhead, NeverMoreThanNUnderEightThreads) {
  chaos::bulkhead b("db", {.max_concurrent = 3});
  std::atomic<int> inside{0}, most{0};
  std::vector<std::thread> all;
  for (int t = 0; t < 8; ++t)
    all.emplace_back([&] {
      for (int i = 0; i < 5'000; ++i)
        (void)b.call([&] {
          const int n = ++inside;
          for (int m = most; m < n && !most.compare_exchange_weak(m, n);) {
          }
          --inside;
        });
    });
  for (auto& t : all) t.join();
  EXPECT_LE(most, 3);
  EXPECT_GE(most, 1);
  EXPECT_EQ(b.inside(), 0u);
}

TEST(Timeout, TellsTheCallableAndDoesNotCountWhatComesTooLate) {
  const std::uint64_t give_up = chaos::monotonic_ns() + 20'000'000'000;
  auto r = chaos::with_timeout(5ms, [&](std::stop_token stop) {
    while (!stop.stop_requested() && chaos::monotonic_ns() < give_up) std::this_thread::yield();
    return stop.stop_requested() ? 1 : 2;
  });
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().kind, failure_kind::timeout);
  EXPECT_LT(chaos::monotonic_ns(), give_up) << "it was told";
}

TEST(Timeout, InTimeIsTheValue) {
  auto r = chaos::with_timeout(1h, [](std::stop_token) { return std::string("quick"); });
  EXPECT_EQ(r.value(), "quick");
  EXPECT_TRUE(chaos::with_timeout(1h, [] {}).has_value());
}

TEST(Timeout, AsLongAsItTakes) {
  auto waiting = std::async(std::launch::async, [] {
    return chaos::with_timeout(std::chrono::nanoseconds::max(), [](std::stop_token) { return 1; }).value_or(0);
  });
  ASSERT_EQ(waiting.wait_for(20s), std::future_status::ready);
  EXPECT_EQ(waiting.get(), 1);
  auto told = chaos::with_timeout(1ms, [](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
  });
  EXPECT_FALSE(told) << "others are told in time meanwhile and after";
  chaos::bulkhead b("db", {.max_concurrent = 1, .max_wait = std::chrono::nanoseconds::max()});
  auto held = b.try_acquire();
  auto waiter = std::async(std::launch::async, [&] { return static_cast<bool>(b.try_acquire()); });
  EXPECT_EQ(waiter.wait_for(50ms), std::future_status::timeout);
  held = chaos::bulkhead::place();
  EXPECT_TRUE(waiter.get());
}

// pthread_cancel() and pthread_exit() unwind through what catches everything.
TEST(Compose, AThreadMayEndInsideOfACall) {
  chaos::breaker breaker{"b", {.failure_threshold = 1}};
  chaos::bulkhead bulkhead("b", {.max_concurrent = 1});
  const std::function<void()> ends[] = {
      [&] { (void)breaker.call([] { pthread_exit(nullptr); }); },
      [&] { (void)breaker.call([] { return chaos::result<int>(chaos::failure{}); }).or_else([]() -> int { pthread_exit(nullptr); }); },
      [&] { (void)bulkhead.call([] { pthread_exit(nullptr); }); },
      [&] { (void)chaos::with_timeout(1h, [](std::stop_token) { pthread_exit(nullptr); }); },
      [&] { (void)chaos::retry({}, [] { pthread_exit(nullptr); }); },
  };
  for (const auto& end : ends) {
    breaker.reset();
    pthread_t thread;
    ASSERT_EQ(pthread_create(&thread, nullptr, [](void* f) -> void* { return (*static_cast<const std::function<void()>*>(f))(), f; }, const_cast<std::function<void()>*>(&end)), 0);
    void* returned = &thread;
    ASSERT_EQ(pthread_join(thread, &returned), 0);
    EXPECT_EQ(returned, nullptr) << "it ended where it said";
  }
  EXPECT_EQ(bulkhead.inside(), 0u) << "its place was given back";
}

TEST(Timeout, WithoutATokenItIsMeasured) {
  chaos::manual_clock clock;
  auto slow = chaos::with_timeout(
      50ms,
      [&] {
        clock.advance(51ms);
        return 1;
      },
      &clock);
  EXPECT_EQ(slow.error().kind, failure_kind::timeout);
  auto threw = chaos::with_timeout(
      50ms, [&]() -> int { throw std::runtime_error("early"); }, &clock);
  EXPECT_EQ(threw.error().message(), "early");
}

TEST(Timeout, ManyAtATimeAreEachToldInTheirTime) {
  std::vector<std::thread> all;
  std::atomic<int> timed_out{0}, in_time{0};
  for (int t = 0; t < 8; ++t)
    all.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        auto r = chaos::with_timeout(t % 2 ? std::chrono::nanoseconds(1ms) : std::chrono::nanoseconds(1h),
                                     [&](std::stop_token stop) {
                                       while (t % 2 && !stop.stop_requested()) std::this_thread::yield();
                                       return 1;
                                     });
        ++(r.has_value() ? in_time : timed_out);
      }
    });
  for (auto& t : all) t.join();
  EXPECT_EQ(timed_out, 80);
  EXPECT_EQ(in_time, 80);
}

TEST(Together, BulkheadInBreakerInRetry) {
  clocked b({.failure_threshold = 100, .failure_rate = 0});
  chaos::bulkhead room("db", {.max_concurrent = 1});
  sleeps s;
  int calls = 0;
  auto r = chaos::retry({.sleep = s.recorder()}, [&] {
    return b.breaker.call([&] {
      return room.call([&] {
        return chaos::with_timeout(1h, [&] {
          if (++calls == 1) throw std::runtime_error("once");
          return calls;
        });
      });
    });
  });
  EXPECT_EQ(r.value(), 2);
  EXPECT_EQ(b.metrics().failed, 1u);
  EXPECT_EQ(b.metrics().successful, 1u);
}

}  // namespace
