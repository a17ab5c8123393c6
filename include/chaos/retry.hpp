// Retries with jittered backoff, and a budget that stops them when everything fails.
//
//   chaos::retry_budget budget;                                   // one a dependency, shared by its callers
//   auto r = chaos::retry({.max_attempts = 3, .budget = &budget}, [&] { return client.get(key); });   // result<T>
//   auto r = chaos::retry({}, [&] { return redis.call([&] { return client.get(key); }); });           // composes
//
// Waits are "full jitter": evenly between 0 and min(backoff_max, backoff · growth^(n-1)). A rejection (open, full) is
// not retried unless retry_if says so: what it waits for will not come in milliseconds.
// Thread-safety: retry() and retry_budget from any thread. Units: std::chrono. Errors: wrong settings throw
// std::invalid_argument naming the field; a failure without budget keeps its own cause.
// Source of algorithm: budget as gRPC's retry throttling (10 tokens; a failure that may be retried takes one, a success gives 0.1;
// retries only above half); jitter as in "Exponential Backoff And Jitter" (AWS).
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

#include "breaker/clock.hpp"
#include "breaker/invoke.hpp"
#include "breaker/settings.hpp"

namespace chaos {

class retry_budget {
 public:
  explicit retry_budget(double max_tokens = 10, double token_ratio = 0.1)
      : max_(static_cast<std::int64_t>(max_tokens * 1000)),
        gain_(static_cast<std::int64_t>(token_ratio * 1000)),
        tokens_(max_) {
    if (!(max_tokens >= 1 && max_tokens <= 1000))
      detail::refuse("retry_budget", "", "max_tokens", max_tokens, "1 to 1000");
    if (!(token_ratio >= 0.001 && token_ratio <= 1))
      detail::refuse("retry_budget", "", "token_ratio", token_ratio, "0.001 to 1");
  }
  void success() noexcept { add(gain_); }
  // True when a retry may follow.
  bool failure() noexcept { return add(-1000) > max_ / 2; }
  double tokens() const noexcept { return static_cast<double>(tokens_.load(std::memory_order_relaxed)) / 1000; }

 private:
  std::int64_t add(std::int64_t n) noexcept {
    std::int64_t old = tokens_.load(std::memory_order_relaxed), next;
    do next = std::clamp<std::int64_t>(old + n, 0, max_);
    while (next != old && !tokens_.compare_exchange_weak(old, next, std::memory_order_relaxed));
    return next;
  }
  std::int64_t max_, gain_;
  std::atomic<std::int64_t> tokens_;
};

struct retry_settings {
  std::uint32_t max_attempts = 3;  // the first included
  std::chrono::nanoseconds backoff = std::chrono::milliseconds(50);
  std::chrono::nanoseconds backoff_max = std::chrono::seconds(2);
  double growth = 2;
  retry_budget* budget = nullptr;                         // not owned
  std::function<bool(const failure&)> retry_if{};         // default: kind error or timeout
  std::function<void(std::chrono::nanoseconds)> sleep{};  // default: this thread sleeps
  std::uint64_t jitter_seed = 0;                          // 0 = from the clock
};

// `f` returns a T or a result<T>, and may throw.
template <class F>
detail::result_of_call<F&> retry(const retry_settings& s, F&& f) {
  const auto no = [](const char* field, auto value, const char* right) {
    detail::refuse("retry", "", field, value, right);
  };
  if (s.max_attempts < 1 || s.max_attempts > 100) no("max_attempts", s.max_attempts, "1 to 100");
  if (s.backoff.count() < 0) no("backoff", s.backoff.count(), "0 ns or more");
  if (s.backoff_max < s.backoff) no("backoff_max", s.backoff_max.count(), "at least backoff, in ns");
  if (!(s.growth >= 1 && s.growth <= 100)) no("growth", s.growth, "1 to 100");
  std::uint64_t random = s.jitter_seed ? s.jitter_seed : monotonic_ns();
  for (std::uint32_t attempt = 1;; ++attempt) {
    auto r = detail::invoke_to_result(f);
    if (r.has_value()) {
      if (s.budget) s.budget->success();
      return r;
    }
    const failure& why = r.error();
    const bool wanted =
        s.retry_if ? s.retry_if(why) : why.kind == failure_kind::error || why.kind == failure_kind::timeout;
    const bool afforded = !wanted || !s.budget || s.budget->failure();
    if (!wanted || !afforded || attempt >= s.max_attempts) return r;
    random = random * 6364136223846793005u + 1442695040888963407u;
    const double unit = static_cast<double>(random >> 11) * 0x1p-53;
    const double most = std::min(static_cast<double>(s.backoff_max.count()),
                                 static_cast<double>(s.backoff.count()) * std::pow(s.growth, attempt - 1));
    const std::chrono::nanoseconds wait(static_cast<std::int64_t>(most * unit));
    s.sleep ? s.sleep(wait) : std::this_thread::sleep_for(wait);
  }
}

}  // namespace chaos
