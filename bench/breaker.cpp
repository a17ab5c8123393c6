// What does a breaker cost a call? Ours, and beside it in the same run a mutex-and-deque breaker as one would write
// it. Runs with 1 and 2 threads; the time is per call of each thread.
#include <benchmark/benchmark.h>

#include <stdexcept>
#include <string>

#include "chaos/breaker.hpp"
#include "mutex_deque_breaker.hpp"

namespace {
using namespace std::chrono_literals;

chaos::breaker& closed() {
  static chaos::breaker b{"closed"};
  return b;
}

void ours_success_bare_permit(benchmark::State& state) {
  chaos::breaker& b = closed();
  for (auto _ : state) {
    auto p = b.try_acquire();
    p.success();
  }
}
void ours_success_guard_result_fallback(benchmark::State& state) {
  chaos::breaker& b = closed();
  int i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(i);
    auto r = b.call([&] { return i; }).or_else([](const chaos::failure&) { return -1; });
    benchmark::DoNotOptimize(*r);
  }
}
void ours_success_slow_call_rule(benchmark::State& state) {
  static chaos::breaker b{"timed", {.slow_call_duration = 1s}};
  for (auto _ : state) b.try_acquire().success();
}
void ours_success_time_window(benchmark::State& state) {
  static chaos::breaker b{"period", {.monitoring_period = 10s}};
  for (auto _ : state) b.try_acquire().success();
}
void ours_rejection(benchmark::State& state) {
  static chaos::breaker b{"open", {.recovery_timeout = 1h}};
  if (state.thread_index() == 0) b.trip();
  for (auto _ : state) {
    auto p = b.try_acquire();
    benchmark::DoNotOptimize(static_cast<bool>(p));
  }
}
void ours_rejection_result_fallback(benchmark::State& state) {
  static chaos::breaker b{"open2", {.recovery_timeout = 1h}};
  if (state.thread_index() == 0) b.trip();
  for (auto _ : state) {
    auto r = b.call([] { return 1; }).or_else([](const chaos::failure&) { return -1; });
    benchmark::DoNotOptimize(*r);
  }
}
// Failures that do not open it, so that each one is counted and judged.
void ours_failure(benchmark::State& state) {
  static chaos::breaker b{"failing", {.failure_threshold = 4'000'000'000, .failure_rate = 1, .minimum_calls = 100}};
  b.try_acquire().success();
  int i = 0;
  for (auto _ : state) {
    b.try_acquire().failure();
    if (++i % 16 == 0) b.try_acquire().success();
  }
  if (b.state() != chaos::state::closed) state.SkipWithError("it opened");
}

void mutex_deque_success(benchmark::State& state) {
  static bench::mutex_deque_breaker b;
  for (auto _ : state)
    if (b.allow()) b.record(true);
}
void mutex_deque_rejection(benchmark::State& state) {
  static bench::mutex_deque_breaker b{100, 10, 0.5, 3600s};
  if (state.thread_index() == 0)
    for (int i = 0; i < 20; ++i)
      if (b.allow()) b.record(false);
  for (auto _ : state) benchmark::DoNotOptimize(b.allow());
}
void mutex_deque_failure(benchmark::State& state) {
  static bench::mutex_deque_breaker b{100, 10, 1.1, 30s};
  for (auto _ : state)
    if (b.allow()) b.record(false);
}

// The floor: what the loop, the clock and a lock cost here.
void floor_clock_read(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(chaos::monotonic_ns());
}
void floor_uncontended_lock(benchmark::State& state) {
  std::mutex m;
  for (auto _ : state) {
    std::lock_guard lock(m);
    benchmark::ClobberMemory();
  }
}

#define CHAOS_AT_1_AND_2_THREADS(name) BENCHMARK(name)->Threads(1)->Threads(2)->MinTime(0.2)
CHAOS_AT_1_AND_2_THREADS(ours_success_bare_permit);
CHAOS_AT_1_AND_2_THREADS(mutex_deque_success);
CHAOS_AT_1_AND_2_THREADS(ours_success_guard_result_fallback);
CHAOS_AT_1_AND_2_THREADS(ours_success_slow_call_rule);
CHAOS_AT_1_AND_2_THREADS(ours_success_time_window);
CHAOS_AT_1_AND_2_THREADS(ours_rejection);
CHAOS_AT_1_AND_2_THREADS(mutex_deque_rejection);
CHAOS_AT_1_AND_2_THREADS(ours_rejection_result_fallback);
CHAOS_AT_1_AND_2_THREADS(ours_failure);
CHAOS_AT_1_AND_2_THREADS(mutex_deque_failure);
BENCHMARK(floor_clock_read)->MinTime(0.2);
BENCHMARK(floor_uncontended_lock)->MinTime(0.2);

}  // namespace

BENCHMARK_MAIN();
