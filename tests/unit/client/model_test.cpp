// Random operations on the breaker and on a reference so simple that it can be read as the specification. After each
// operation both must be in the same state and have given the same answer.
#include <deque>
#include <random>

#include "support.hpp"

namespace {
using namespace chaos_test;
using chaos::state;

// Everything is kept in full: a list of calls, a list of probes. Times are multiples of the half-open tick (2^24 ns),
// so that rounding of deadlines has no part in this.
constexpr std::uint64_t tick = 1ull << 24;

struct reference {
  chaos::breaker_settings s;
  state now_in = state::closed;
  std::uint64_t period = 1, deadline = 0;
  std::deque<bool> window;  // true = failed
  unsigned in_a_row = 0, probes_out = 0, probes_ok = 0;

  void enter(state to, std::uint64_t now) {
    now_in = to;
    ++period;
    if (to == state::open) deadline = now + static_cast<std::uint64_t>(s.recovery_timeout.count());
    probes_out = probes_ok = 0;
    if (to == state::closed) {
      window.clear();
      in_a_row = 0;
    }
  }
  void let_time_pass(std::uint64_t now) {
    if (now_in == state::half_open && probes_out && now >= deadline) enter(state::open, deadline);
  }
  bool due(std::uint64_t now) const { return now_in == state::open && now >= deadline; }
  state state_at(std::uint64_t now) {
    let_time_pass(now);
    return due(now) ? state::half_open : now_in;
  }
  std::uint64_t acquire(std::uint64_t now) {  // 0 = rejected, else the period of the permit
    let_time_pass(now);
    if (due(now)) enter(state::half_open, now);
    if (now_in == state::open) return 0;
    if (now_in == state::half_open) {
      if (probes_out >= s.half_open_permits) return 0;
      if (probes_out + probes_ok >= std::max(s.half_open_permits, s.success_threshold)) return 0;
      ++probes_out;
      deadline = now + static_cast<std::uint64_t>(s.half_open_timeout.count());
    }
    return period;
  }
  void finish(std::uint64_t of, chaos::outcome o, std::uint64_t now) {
    let_time_pass(now);
    if (of != period) return;
    if (now_in == state::half_open) {
      --probes_out;
      if (o == chaos::outcome::failure) return enter(state::open, now);
      if (o == chaos::outcome::success && ++probes_ok >= s.success_threshold) enter(state::closed, now);
      return;
    }
    if (o == chaos::outcome::ignored) return;
    const bool failed = o == chaos::outcome::failure;
    window.push_back(failed);
    if (window.size() > s.sliding_window) window.pop_front();
    in_a_row = failed ? in_a_row + 1 : 0;
    if (!failed) return;
    const auto failures = static_cast<double>(std::count(window.begin(), window.end(), true));
    if ((s.failure_threshold && in_a_row >= s.failure_threshold) ||
        (s.failure_rate > 0 && window.size() >= s.minimum_calls &&
         failures >= s.failure_rate * static_cast<double>(window.size())))
      enter(state::open, now);
  }
};

TEST(Model, BehavesAsTheReferenceUnderRandomOperations) {
  std::uint64_t transitions = 0, late = 0;
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    const auto ticks = [&](unsigned n) { return std::chrono::nanoseconds(tick * (1 + random() % n)); };
    chaos::manual_clock clock(tick * 1000);
    chaos::breaker_settings s{.failure_threshold = static_cast<std::uint32_t>(random() % 6),
                              .failure_rate = 0.1 * static_cast<double>(1 + random() % 10),
                              .sliding_window = static_cast<std::uint32_t>(10 + random() % 20),
                              .minimum_calls = static_cast<std::uint32_t>(1 + random() % 10),
                              .recovery_timeout = ticks(20),
                              .half_open_permits = static_cast<std::uint32_t>(1 + random() % 4),
                              .success_threshold = static_cast<std::uint32_t>(1 + random() % 4),
                              .half_open_timeout = ticks(10),
                              .clock = &clock};
    chaos::breaker b("model", s);
    reference model{.s = s, .window = {}};
    struct out {
      chaos::permit permit;
      std::uint64_t period;
    };
    std::vector<out> outstanding;
    const unsigned failure_percent = random() % 100;
    for (int step = 0; step < 3000; ++step) {
      const auto where = [&] { return "seed " + std::to_string(seed) + " step " + std::to_string(step); };
      const unsigned dice = random() % 100;
      if (dice < 45) {
        auto p = b.try_acquire();
        const std::uint64_t period = model.acquire(clock.now_ns());
        ASSERT_EQ(static_cast<bool>(p), period != 0) << where();
        if (p) outstanding.push_back({std::move(p), period});
      } else if (dice < 90 && !outstanding.empty()) {
        const std::size_t i = random() % 8 ? outstanding.size() - 1 : random() % outstanding.size();
        std::swap(outstanding[i], outstanding.back());
        const auto o = random() % 10 == 0                 ? chaos::outcome::ignored
                       : random() % 100 < failure_percent ? chaos::outcome::failure
                                                          : chaos::outcome::success;
        model.finish(outstanding.back().period, o, clock.now_ns());
        if (o == chaos::outcome::ignored && random() % 2)
          outstanding.back().permit.release();
        else
          outstanding.back().permit.record(o);
        outstanding.pop_back();
      } else {
        clock.advance(std::chrono::nanoseconds(tick * (random() % 6)));
      }
      ASSERT_EQ(b.state(), model.state_at(clock.now_ns())) << where();
    }
    const auto m = b.metrics();
    for (const auto& row : m.transitions)
      for (const auto n : row) transitions += n;
    late += m.late_results;
  }
  // The test is worth something only if it went through many states.
  EXPECT_GT(transitions, 10'000u);
  EXPECT_GT(late, 1'000u);
}

}  // namespace
