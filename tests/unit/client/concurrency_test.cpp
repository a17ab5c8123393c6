// Eight threads through all transitions, more threads than slots, and fork(). Meant to run under ThreadSanitizer too.
#include <sys/wait.h>
#include <unistd.h>

#include <barrier>
#include <random>
#include <thread>

#include "support.hpp"

#if defined(__SANITIZE_THREAD__)
constexpr bool under_tsan = true;
#else
constexpr bool under_tsan = false;
#endif

namespace {
using namespace chaos_test;
using chaos::state;

TEST(Concurrency, EightThreadsThroughAllTransitionsKeepEveryRule) {
  clocked b({.failure_threshold = 3,
             .recovery_timeout = 20ms,
             .half_open_permits = 3,
             .success_threshold = 2,
             .half_open_timeout = 20ms});
  constexpr int threads = 8, rounds = under_tsan ? 5'000 : 50'000;
  std::atomic<std::uint64_t> admitted{0}, rejected{0}, dropped{0}, ignored{0};
  std::vector<chaos::transition> seen;  // written by one thread at a time: that is the promise
  auto listening = b.breaker.on_transition([&](const chaos::transition& t) { seen.push_back(t); });
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<chaos::permit> held;
      for (int i = 0; i < rounds; ++i) {
        if (random() % 16 == 0) b.clock.advance(2ms);
        auto p = b.breaker.try_acquire();
        if (!p) {
          ++rejected;
          continue;
        }
        ++admitted;
        switch (random() % 8) {
          case 0: ++dropped; break;  // goes back by itself
          case 1:
            p.ignore();
            ++ignored;
            break;
          case 2:
          case 3: p.failure(); break;
          case 4: held.push_back(std::move(p)); break;  // answered much later
          default: p.success();
        }
        if (held.size() > 4) {
          held.front().success();
          held.erase(held.begin());
        }
      }
      for (auto& p : held) p.failure();
    });
  for (auto& t : all) t.join();
  const auto m = b.metrics();
  EXPECT_EQ(m.not_permitted, rejected);
  EXPECT_EQ(m.ignored, ignored);
  EXPECT_EQ(m.successful + m.failed + m.late_results + m.ignored + dropped, admitted) << "each verdict counted once";
  EXPECT_GT(m.late_results, 0u);
  std::uint64_t transitions = 0;
  for (const auto& row : m.transitions)
    for (const auto n : row) transitions += n;
  EXPECT_EQ(transitions, seen.size() + m.transitions_lost);
  EXPECT_GT(transitions, 100u);
  if (m.transitions_lost == 0)
    for (std::size_t i = 1; i < seen.size(); ++i) {
      ASSERT_EQ(seen[i].from, seen[i - 1].to) << "in order, none missing: " << i;
      ASSERT_GE(seen[i].at + 40ms, seen[i - 1].at);
    }
}

TEST(Concurrency, MoreThreadsThanSlotsLoseNoCount) {
  chaos::breaker b("many", {});
  constexpr int threads = 100, calls = 2'000;
  std::barrier together(threads);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&] {
      together.arrive_and_wait();
      for (int i = 0; i < calls; ++i) b.try_acquire().success();
      together.arrive_and_wait();  // all of them alive at once: the later ones share
    });
  for (auto& t : all) t.join();
  EXPECT_EQ(b.metrics().successful, 1ull * threads * calls);
}

TEST(Concurrency, SlotsOfThreadsThatEndedAreUsedAgain) {
  chaos::breaker b("generations", {});
  for (int i = 0; i < 500; ++i) std::thread([&] { b.try_acquire().success(); }).join();
  EXPECT_EQ(b.metrics().successful, 500u);
  std::thread([&] {
    b.try_acquire().success();
    EXPECT_LT(chaos::detail::my_slot, chaos::detail::owned_slots) << "500 threads did not use up 64 slots";
  }).join();
}

TEST(Concurrency, ASuccessBetweenFailuresOfOtherThreadsBreaksTheRow) {
  clocked b({.failure_threshold = 2, .failure_rate = 0});
  for (int i = 0; i < 100; ++i) {
    std::thread([&] { b.fail(); }).join();
    std::thread([&] { b.succeed(); }).join();
  }
  EXPECT_EQ(b.state(), state::closed);
}

// Runs `child` in a child process; its gtest failures become the exit status.
template <class F>
int in_child(F&& child) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(30);  // a deadlock in the child ends as a signal, not as a hung test
    _exit(child() ? 0 : 1);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return status;
}

TEST(Fork, TheChildHasAWorkingCopyAlthoughOtherThreadsHoldLocks) {
  if (under_tsan) GTEST_SKIP() << "ThreadSanitizer does not support threads and locks in a child of fork()";
  chaos::breaker b("forked", {.failure_threshold = 3, .recovery_timeout = 1h});
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int t = 0; t < 3; ++t)
    busy.emplace_back([&] {
      while (!stop) {
        b.try_acquire().failure();
        b.try_acquire().success();
        (void)b.metrics();
        b.reset();
      }
    });
  for (int i = 0; i < 100; ++i) {
    const int status = in_child([&] {
      b.reset();
      const auto before = b.metrics();
      b.try_acquire().success();
      for (int f = 0; f < 3; ++f) b.try_acquire().failure();
      return b.state() == state::open && b.metrics().failed == before.failed + 3 &&
             b.metrics().successful == before.successful + 1;
    });
    ASSERT_EQ(status, 0) << "round " << i;
  }
  stop = true;
  for (auto& t : busy) t.join();
}

TEST(Fork, TheSlotsOfThreadsThatAreNotInTheChildAreFree) {
  if (under_tsan) GTEST_SKIP();
  chaos::breaker b("forked", {});
  std::barrier together(71);
  std::vector<std::thread> all;
  for (int t = 0; t < 70; ++t)
    all.emplace_back([&] {
      b.try_acquire().success();
      together.arrive_and_wait();
      together.arrive_and_wait();
    });
  together.arrive_and_wait();
  EXPECT_EQ(in_child([&] {
              bool owned = false;
              std::thread([&] {
                b.try_acquire().success();
                owned = chaos::detail::my_slot < chaos::detail::owned_slots;
              }).join();
              return owned && b.metrics().successful == 71;
            }),
            0);
  together.arrive_and_wait();
  for (auto& t : all) t.join();
}

TEST(Fork, AListenerThatRunsElsewhereDoesNotSilenceTheChild) {
  if (under_tsan) GTEST_SKIP();
  chaos::breaker b("forked", {.failure_threshold = 1});
  std::atomic<int> stage{0};
  std::atomic<int> heard{0};
  const pid_t parent = getpid();
  auto s = b.on_transition([&](const chaos::transition&) {
    ++heard;
    if (getpid() != parent) return;
    stage = 1;
    stage.notify_all();
    stage.wait(1);
  });
  std::thread holder([&] { b.try_acquire().failure(); });
  stage.wait(0);
  EXPECT_EQ(in_child([&] {
              b.reset();
              return heard == 2;  // the one that the parent is in, and the child's own
            }),
            0);
  stage = 2;
  stage.notify_all();
  holder.join();
}

}  // namespace
