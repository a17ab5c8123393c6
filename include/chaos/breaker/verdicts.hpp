// Everything about results that is kept under the breaker's lock: failures and slow calls, their window, and whether
// they are enough to open. Successes live in shards (shards.hpp); their sum is handed in as `ok`.
// Thread-safety: the breaker's lock, but add_success(). Units: nanoseconds. Errors: none after construction.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>

#include "events.hpp"
#include "settings.hpp"
#include "window.hpp"

namespace chaos::detail {

class verdicts {
 public:
  struct totals {
    std::uint64_t calls, failed, slow;
  };

  verdicts(const breaker_settings& s, std::uint64_t now_ns)
      : settings_(s),
        by_time_(s.monitoring_period.count() != 0),
        slow_calls_(s.slow_call_duration.count() != 0),
        failures_(by_time_ ? 1 : s.sliding_window),
        slow_(slow_calls_ && !by_time_ ? s.sliding_window : 1),
        period_(static_cast<std::uint64_t>(s.monitoring_period.count()), now_ns) {}

  // Without the lock: a success of a breaker with a time window.
  void add_success(std::uint64_t now_ns) noexcept {
    if (by_time_) period_.add_success(now_ns);
  }

  // A failure or a slow success in CLOSED or METRICS_ONLY.
  void add(bool failed, bool slow, std::uint64_t ok, std::uint64_t now_ns) noexcept {
    count(failed, slow, ok);
    const std::uint64_t call = ok + ++locked_calls_;
    if (by_time_) return period_.add_event(now_ns, failed, slow);
    if (failed) failures_.push(call);
    if (slow) slow_.push(call);
  }
  // The same of a probe, which is in no window.
  void count(bool failed, bool slow, std::uint64_t ok) noexcept {
    if (!failed) {
      ++slow_ok_;
      return;
    }
    ++failed_;
    if (slow) ++slow_failed_;
    // In a row = no success has been counted since the last failure. Successes themselves need not know.
    consecutive_ = ok + slow_ok_ == ok_at_failure_ ? consecutive_ + 1 : 1;
    ok_at_failure_ = ok + slow_ok_;
  }

  // Why the circuit must open now, if it must.
  std::optional<transition_reason> judge(std::uint64_t ok, std::uint64_t now_ns) noexcept {
    if (settings_.failure_threshold && consecutive_ >= settings_.failure_threshold)
      return transition_reason::consecutive_failures;
    const totals t = window(ok, now_ns);
    if (t.calls < settings_.minimum_calls) return std::nullopt;
    const auto over = [&](std::uint64_t part, double rate) {
      return part != 0 && static_cast<double>(part) >= rate * static_cast<double>(t.calls);
    };
    if (settings_.failure_rate > 0 && over(t.failed, settings_.failure_rate)) return transition_reason::failure_rate;
    if (slow_calls_ && over(t.slow, settings_.slow_call_rate)) return transition_reason::slow_calls;
    return std::nullopt;
  }

  totals window(std::uint64_t ok, std::uint64_t now_ns) noexcept {
    if (by_time_) {
      const auto t = period_.totals(now_ns);
      return {t.calls, t.failed, t.slow};
    }
    const std::uint64_t call = ok + locked_calls_;
    return {std::min<std::uint64_t>(call - base_, settings_.sliding_window), failures_.count_at(call),
            slow_calls_ ? slow_.count_at(call) : 0};
  }
  void forget(std::uint64_t ok) noexcept {
    base_ = ok + locked_calls_;
    failures_.clear();
    slow_.clear();
    if (by_time_) period_.clear();
    consecutive_ = 0;
    ok_at_failure_ = ok + slow_ok_;
  }

  std::uint64_t calls(std::uint64_t ok) const noexcept { return ok + locked_calls_; }
  std::uint64_t failed() const noexcept { return failed_; }
  std::uint64_t slow_successful() const noexcept { return slow_ok_; }
  std::uint64_t slow_failed() const noexcept { return slow_failed_; }

 private:
  const breaker_settings& settings_;
  const bool by_time_, slow_calls_;
  event_ring failures_, slow_;
  time_window period_;
  std::uint64_t locked_calls_ = 0, base_ = 0, failed_ = 0, slow_ok_ = 0, slow_failed_ = 0, ok_at_failure_ = 0;
  std::uint32_t consecutive_ = 0;
};

}  // namespace chaos::detail
