// A bulkhead: at most N calls at a time to one dependency, so that a slow one cannot take every thread.
//
//   chaos::bulkhead db{"postgres", {.max_concurrent = 20, .max_wait = 10ms}};
//   auto r = db.call([&] { return query(); });                  // result<T>; failure{full} when there is no room
//   if (auto place = db.try_acquire()) ...                      // move-only, given back when dropped
//
// Thread-safety: every member, from any thread. Waiters are not served in order. Units: std::chrono.
// Errors: wrong settings throw std::invalid_argument naming the field; call() itself throws nothing.
// Hazard: places must not outlive the bulkhead; a child of fork() must not use one that other threads were using.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "breaker/invoke.hpp"
#include "breaker/settings.hpp"

namespace chaos {

struct bulkhead_settings {
  std::uint32_t max_concurrent = 25;
  std::chrono::nanoseconds max_wait{0};  // for a place; 0 = not at all
};

class bulkhead {
 public:
  class [[nodiscard]] place {
   public:
    place() = default;
    explicit place(bulkhead* of) noexcept : of_(of) {}
    place(place&& o) noexcept : of_(std::exchange(o.of_, nullptr)) {}
    place& operator=(place&& o) noexcept {
      std::swap(of_, o.of_);
      return *this;
    }
    ~place() {
      if (of_) of_->leave();
    }
    explicit operator bool() const noexcept { return of_ != nullptr; }

   private:
    bulkhead* of_ = nullptr;
  };

  explicit bulkhead(std::string name, bulkhead_settings settings = {}) : name_(std::move(name)), settings_(settings) {
    const auto no = [&](const char* field, auto value, const char* right) {
      detail::refuse("bulkhead", name_, field, value, right);
    };
    if (settings.max_concurrent < 1) no("max_concurrent", settings.max_concurrent, "at least 1");
    if (settings.max_wait.count() < 0) no("max_wait", settings.max_wait.count(), "0 ns or more");
  }
  bulkhead(const bulkhead&) = delete;
  bulkhead& operator=(const bulkhead&) = delete;

  place try_acquire() {
    std::unique_lock lock(mutex_);
    const auto room = [this] { return inside_ < settings_.max_concurrent; };
    if (!room() && (settings_.max_wait.count() == 0 || !freed_.wait_for(lock, detail::waitable(settings_.max_wait), room))) {
      ++rejected_;
      return place();
    }
    ++inside_;
    return place(this);
  }

  template <class F>
  detail::result_of_call<F&> call(F&& f) {
    place p = try_acquire();
    if (!p) return detail::result_of_call<F&>(failure{failure_kind::full, {}, {}, "the bulkhead is full"});
    return detail::invoke_to_result(f);
  }

  std::uint32_t inside() const {
    std::lock_guard lock(mutex_);
    return inside_;
  }
  std::uint64_t rejected() const {
    std::lock_guard lock(mutex_);
    return rejected_;
  }

 private:
  void leave() noexcept {
    {
      std::lock_guard lock(mutex_);
      --inside_;
    }
    freed_.notify_one();
  }
  const std::string name_;
  const bulkhead_settings settings_;
  mutable std::mutex mutex_;
  std::condition_variable freed_;
  std::uint32_t inside_ = 0;
  std::uint64_t rejected_ = 0;
};

}  // namespace chaos
