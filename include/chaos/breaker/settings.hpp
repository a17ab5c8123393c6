// The settings of a breaker and their validation.
//
//   chaos::breaker b{"redis", {.failure_threshold = 5, .recovery_timeout = 500ms}};
//
// Errors: settings that cannot work are refused at construction with std::invalid_argument, whose text names the
// field, the value and what would be right. Units: std::chrono durations; rates are fractions of one.
#pragma once
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "../failure.hpp"
#include "clock.hpp"
#include "word.hpp"

namespace chaos {

struct breaker_settings {
  // What opens a closed breaker: this many failures in a row (0 = off) ...
  std::uint32_t failure_threshold = 5;
  // ... or this share of the calls in the window (0 = off), once there are minimum_calls.
  double failure_rate = 0.5;
  std::uint32_t sliding_window = 100;             // the window: the last N calls, exactly ...
  std::chrono::nanoseconds monitoring_period{0};  // ... or, when not 0, the calls of this last time (in 1/16 steps)
  std::uint32_t minimum_calls = 10;
  // A call that takes at least this long is slow (0 = off: then no successful call reads a clock).
  std::chrono::nanoseconds slow_call_duration{0};
  double slow_call_rate = 0.5;

  // Open → half open. The n-th opening in a row lasts recovery_timeout · growth^(n-1), at most recovery_timeout_max
  // (0 = 32 × recovery_timeout), and is then varied by ± recovery_jitter of itself. Resolution 66 µs, never early.
  std::chrono::nanoseconds recovery_timeout = std::chrono::seconds(30);
  double recovery_growth = 1.0;
  std::chrono::nanoseconds recovery_timeout_max{0};
  double recovery_jitter = 0.0;

  // Half open → closed: success_threshold successes, of at most half_open_permits calls at a time. A failure opens
  // again, and so does a probe that has no result after half_open_timeout (0 = recovery_timeout, at most 2 h;
  // resolution 17 ms, never early), counted from the latest probe: those before it wait as long.
  std::uint32_t half_open_permits = 3;
  std::uint32_t success_threshold = 2;
  std::chrono::nanoseconds half_open_timeout{0};

  // A fallback of or_else() that takes longer counts as failed; one that takes a std::stop_token is told (0 = off).
  std::chrono::nanoseconds fallback_timeout{0};

  // Verdict on an exception. Without it each exception is a failure.
  std::function<outcome(const std::exception_ptr&)> classify{};

  const clock_source* clock = nullptr;  // not owned; nullptr = monotonic_ns()
  std::uint64_t jitter_seed = 0;        // 0 = from time and address
};

namespace detail {

template <class V>
[[noreturn]] void refuse(std::string_view type, std::string_view name, const char* field, V value,
                         const char* right) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << "chaos::" << type << " \"" << name << "\": " << field << " is " << value << "; expected " << right;
  throw std::invalid_argument(text.str());
}

// Returns the settings with their defaults filled in.
inline breaker_settings checked(breaker_settings s, std::string_view name) {
  const auto no = [&](const char* field, auto value, const char* right) {
    refuse("breaker", name, field, value, right);
  };
  const auto ns = [](std::chrono::nanoseconds d) { return std::to_string(d.count()) + " ns"; };
  const auto longest = [](std::uint64_t n) { return std::chrono::nanoseconds(static_cast<std::int64_t>(n)); };
  using namespace std::chrono_literals;
  if (name.empty() || name.size() > 200) no("name", "\"" + std::string(name) + "\"", "1 to 200 characters");
  if (!(s.failure_rate >= 0 && s.failure_rate <= 1)) no("failure_rate", s.failure_rate, "0 (off) to 1");
  if (s.sliding_window < 1 || s.sliding_window > 1'000'000)
    no("sliding_window", s.sliding_window, "1 to 1000000 calls");
  if (s.monitoring_period != 0ns && (s.monitoring_period < 1ms || s.monitoring_period > 24h))
    no("monitoring_period", ns(s.monitoring_period), "0 (off) or 1 ms to 24 h");
  if (s.minimum_calls < 1) no("minimum_calls", s.minimum_calls, "at least 1");
  if (s.monitoring_period == 0ns && s.minimum_calls > s.sliding_window)
    no("minimum_calls", s.minimum_calls, "no more than sliding_window, or no rate would ever be judged");
  if (s.slow_call_duration < 0ns) no("slow_call_duration", ns(s.slow_call_duration), "0 (off) or more");
  if (!(s.slow_call_rate > 0 && s.slow_call_rate <= 1))
    no("slow_call_rate", s.slow_call_rate, "more than 0, up to 1");
  if (s.failure_threshold == 0 && s.failure_rate == 0 && s.slow_call_duration == 0ns)
    no("failure_threshold", 0, "more than 0, or a failure_rate, or a slow_call_duration: nothing would ever open it");
  if (s.recovery_timeout < 1ms || s.recovery_timeout > longest(recovery_max_ns / 4))
    no("recovery_timeout", ns(s.recovery_timeout), "1 ms to 91 days");
  if (!(s.recovery_growth >= 1 && s.recovery_growth <= 100)) no("recovery_growth", s.recovery_growth, "1 to 100");
  if (s.recovery_timeout_max != 0ns &&
      (s.recovery_timeout_max < s.recovery_timeout || s.recovery_timeout_max > longest(recovery_max_ns / 2)))
    no("recovery_timeout_max", ns(s.recovery_timeout_max),
       "0 (32 times recovery_timeout) or recovery_timeout to 182 days");
  if (!(s.recovery_jitter >= 0 && s.recovery_jitter < 1))
    no("recovery_jitter", s.recovery_jitter, "0 to less than 1");
  if (s.half_open_permits < 1 || s.half_open_permits > count_mask)
    no("half_open_permits", s.half_open_permits, "1 to 1023");
  if (s.success_threshold < 1 || s.success_threshold > count_mask)
    no("success_threshold", s.success_threshold, "1 to 1023");
  if (s.half_open_timeout < 0ns || s.half_open_timeout > longest(half_open_timeout_max_ns))
    no("half_open_timeout", ns(s.half_open_timeout), "0 (recovery_timeout) to 2 h");
  if (s.fallback_timeout < 0ns) no("fallback_timeout", ns(s.fallback_timeout), "0 (off) or more");
  if (s.half_open_timeout == 0ns)
    s.half_open_timeout = std::min(s.recovery_timeout, longest(half_open_timeout_max_ns));
  if (s.recovery_timeout_max == 0ns)
    s.recovery_timeout_max = std::min(s.recovery_timeout * 32, longest(recovery_max_ns / 2));
  return s;
}

}  // namespace detail
}  // namespace chaos
