// The breaker that one would write in an afternoon, to compare with: a mutex, a deque of the last N results, a clock
// read when open. It is correct in the simple cases; tests/unit/client/lint_test.cpp shows which traps it falls into.
#pragma once
#include <chrono>
#include <cstddef>
#include <deque>
#include <mutex>

namespace bench {

// `clock` as std::chrono::steady_clock; the linter's test brings one that stands still.
template <class clock>
class basic_mutex_deque_breaker {
 public:
  explicit basic_mutex_deque_breaker(std::size_t window = 100, std::size_t minimum = 10, double rate = 0.5,
                                     std::chrono::nanoseconds recovery = std::chrono::seconds(30))
      : window_(window), minimum_(minimum), rate_(rate), recovery_(recovery) {}

  bool allow() {
    std::lock_guard lock(mutex_);
    if (state_ == closed) return true;
    if (state_ == open && clock::now() >= deadline_) {
      state_ = half_open;
      return true;
    }
    return false;
  }
  void record(bool ok) {
    std::lock_guard lock(mutex_);
    if (state_ == half_open) {
      if (ok) {
        state_ = closed;
        results_.clear();
        failures_ = 0;
      } else {
        open_now();
      }
      return;
    }
    results_.push_back(ok);
    failures_ += !ok;
    if (results_.size() > window_) {
      failures_ -= !results_.front();
      results_.pop_front();
    }
    if (results_.size() >= minimum_ && static_cast<double>(failures_) >= rate_ * static_cast<double>(results_.size()))
      open_now();
  }
  enum state_type { closed, open, half_open };
  state_type state() {
    std::lock_guard lock(mutex_);
    return state_;
  }

 private:
  void open_now() {
    state_ = open;
    deadline_ = clock::now() + recovery_;
  }
  std::mutex mutex_;
  std::deque<bool> results_;
  std::size_t window_, minimum_, failures_ = 0;
  double rate_;
  std::chrono::nanoseconds recovery_;
  state_type state_ = closed;
  typename clock::time_point deadline_{};
};
using mutex_deque_breaker = basic_mutex_deque_breaker<std::chrono::steady_clock>;

}  // namespace bench
