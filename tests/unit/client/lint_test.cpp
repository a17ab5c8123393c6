// The breaker linter: ours passes every trap, and two breakers made to be wrong fail exactly those they should. A
// linter that cannot fail would be worth nothing.
#include <map>
#include <set>

#include "bench/mutex_deque_breaker.hpp"
#include "chaos/breaker_lint.hpp"
#include "support.hpp"

namespace {
using namespace chaos_test;
using chaos::lint::verdict;

// --- ours behind the C interface ---
struct ours {
  chaos::manual_clock clock;
  chaos::breaker breaker;
  std::mutex mutex;
  std::vector<chaos::permit> permits;
  std::vector<chaos::subscription> subscriptions;

  explicit ours(const chaos_lint_settings& s)
      : breaker("lint", {.failure_threshold = s.failure_threshold,
                         .recovery_timeout = std::chrono::nanoseconds(s.recovery_timeout_ns),
                         .half_open_permits = s.half_open_permits,
                         .success_threshold = s.success_threshold,
                         .half_open_timeout = std::chrono::nanoseconds(s.half_open_timeout_ns),
                         .clock = &clock}) {}
  chaos::permit take(std::int64_t token) {
    std::lock_guard lock(mutex);
    return std::move(permits[static_cast<std::size_t>(token)]);
  }
};
ours& us(void* b) { return *static_cast<ours*>(b); }

const chaos_lint_breaker our_api = {
    .name = "chaos::breaker",
    .threads = 1,
    .make = [](const chaos_lint_settings* s) -> void* { return new ours(*s); },
    .destroy = [](void* b) { delete &us(b); },
    .advance = [](void* b, std::uint64_t ns) { us(b).clock.advance(std::chrono::nanoseconds(ns)); },
    .acquire = [](void* b) -> std::int64_t {
      auto p = us(b).breaker.try_acquire();
      if (!p) return -1;
      std::lock_guard lock(us(b).mutex);
      us(b).permits.push_back(std::move(p));
      return static_cast<std::int64_t>(us(b).permits.size()) - 1;
    },
    .success = [](void* b, std::int64_t t) { us(b).take(t).success(); },
    .failure = [](void* b, std::int64_t t) { us(b).take(t).failure(); },
    .ignore = [](void* b, std::int64_t t) { us(b).take(t).ignore(); },
    .late = nullptr,
    .state = [](void* b) -> int {
      const auto s = us(b).breaker.state();
      return s == chaos::state::closed ? CHAOS_LINT_CLOSED
             : s == chaos::state::open ? CHAOS_LINT_OPEN
                                       : CHAOS_LINT_HALF_OPEN;
    },
    .on_transition =
        [](void* b, void (*told)(void*), void* argument) {
          us(b).subscriptions.push_back(
              us(b).breaker.on_transition([=](const chaos::transition&) { told(argument); }));
        },
};

// --- the afternoon's breaker: a mutex, a deque, no permits ---
struct still_clock {
  using time_point = std::chrono::time_point<still_clock, std::chrono::nanoseconds>;
  using duration = std::chrono::nanoseconds;
  static inline std::atomic<std::int64_t> ns{0};
  static time_point now() { return time_point(std::chrono::nanoseconds(ns.load())); }
};
using naive = bench::basic_mutex_deque_breaker<still_clock>;
naive& it(void* b) { return *static_cast<naive*>(b); }

const chaos_lint_breaker naive_api = {
    .name = "mutex and deque",
    .threads = 1,
    .make = [](const chaos_lint_settings* s) -> void* {
      return new naive(s->failure_threshold, s->failure_threshold, 1.0,
                       std::chrono::nanoseconds(s->recovery_timeout_ns));
    },
    .destroy = [](void* b) { delete &it(b); },
    .advance = [](void*, std::uint64_t ns) { still_clock::ns += static_cast<std::int64_t>(ns); },
    .acquire = [](void* b) -> std::int64_t { return it(b).allow() ? 0 : -1; },
    .success = [](void* b, std::int64_t) { it(b).record(true); },
    .failure = [](void* b, std::int64_t) { it(b).record(false); },
    .ignore = nullptr,
    .late = nullptr,
    .state = [](void* b) -> int { return it(b).state(); },
    .on_transition = nullptr,
};

// --- one wrong in the other ways: admits everyone at half-open, calls back under its lock, deadline after state ---
struct wrong {
  std::mutex mutex;
  std::atomic<int> state{CHAOS_LINT_CLOSED};
  std::atomic<std::uint64_t> now{0}, deadline{0};
  std::uint64_t recovery = 0;
  std::uint32_t failures = 0, threshold = 0;
  void (*told)(void*) = nullptr;
  void* argument = nullptr;
};
wrong& bad(void* b) { return *static_cast<wrong*>(b); }

const chaos_lint_breaker wrong_api = {
    .name = "wrong",
    .threads = 1,
    .make = [](const chaos_lint_settings* s) -> void* {
      auto* w = new wrong;
      w->recovery = s->recovery_timeout_ns;
      w->threshold = s->failure_threshold;
      return w;
    },
    .destroy = [](void* b) { delete &bad(b); },
    .advance = [](void* b, std::uint64_t ns) { bad(b).now += ns; },
    .acquire = [](void* b) -> std::int64_t {
      wrong& w = bad(b);
      if (w.state == CHAOS_LINT_OPEN && w.now >= w.deadline) w.state = CHAOS_LINT_HALF_OPEN;
      if (w.state == CHAOS_LINT_OPEN) return -1;
      std::lock_guard lock(w.mutex);  // a callback that asks for a call waits here
      return 0;
    },
    .success = [](void* b, std::int64_t) { bad(b).state = CHAOS_LINT_CLOSED; },
    .failure =
        [](void* b, std::int64_t) {
          wrong& w = bad(b);
          std::lock_guard lock(w.mutex);
          if (++w.failures < w.threshold) return;
          w.failures = 0;
          w.state = CHAOS_LINT_OPEN;
          for (int i = 0; i < 100; ++i) std::this_thread::yield();
          w.deadline = w.now + w.recovery;
          w.state = CHAOS_LINT_CLOSED;  // so that the callback is admitted and meets the lock
          if (w.told) w.told(w.argument);
          w.state = CHAOS_LINT_OPEN;
        },
    .ignore = nullptr,
    .late = nullptr,
    .state = [](void* b) -> int {
      wrong& w = bad(b);
      return w.state == CHAOS_LINT_OPEN && w.now >= w.deadline ? CHAOS_LINT_HALF_OPEN : w.state.load();
    },
    .on_transition =
        [](void* b, void (*told)(void*), void* argument) {
          bad(b).told = told;
          bad(b).argument = argument;
        },
};

std::set<std::string> failed(const std::vector<chaos::lint::finding>& all) {
  std::set<std::string> names;
  for (const auto& f : all)
    if (f.verdict == verdict::failed) names.insert(f.trap);
  return names;
}

TEST(Lint, OursPassesEveryTrap) {
  const auto findings = chaos::lint::run(our_api);
  EXPECT_EQ(findings.size(), std::size(chaos::lint::detail::traps));
  for (const auto& f : findings) EXPECT_EQ(f.verdict, verdict::passed) << f.trap << ": " << f.detail;
}

TEST(Lint, TheMutexAndDequeBreakerFallsIntoItsTraps) {
  const auto findings = chaos::lint::run(naive_api);
  EXPECT_EQ(failed(findings), (std::set<std::string>{"hung_probe_wedges", "late_success_closes", "late_failure_opens",
                                                     "ignored_keeps_permit", "state_lags"}));
  for (const auto& f : findings) EXPECT_EQ(f.verdict == verdict::skipped, f.trap == "callback_under_lock") << f.trap;
}

TEST(Lint, ABreakerWrongInTheOtherWaysIsFoundOut) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "it deadlocks on purpose";
#endif
  const auto names = failed(chaos::lint::run(wrong_api));
  for (const char* trap : {"everyone_admitted", "ignored_mints_permit", "callback_under_lock", "late_success_closes",
                           "deadline_after_state"})
    EXPECT_TRUE(names.count(trap)) << trap << " was not found";
  EXPECT_FALSE(names.count("hung_probe_wedges")) << "it admits everyone, so no probe can wedge it";
}

TEST(Lint, ABreakerThatCannotBeMadeFailsEverything) {
  chaos_lint_breaker none = our_api;
  none.make = [](const chaos_lint_settings*) -> void* { return nullptr; };
  EXPECT_EQ(failed(chaos::lint::run(none)).size(), std::size(chaos::lint::detail::traps));
}

}  // namespace
