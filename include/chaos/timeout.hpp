// Cooperative time-outs: the call is asked to stop, and what it returns too late does not count.
//
//   auto r = chaos::with_timeout(50ms, [&](std::stop_token stop) { return fetch(key, stop); });   // result<T>
//   auto r = redis.call([&] { return chaos::with_timeout(50ms, [&](std::stop_token s) { ... }); });  // composes
//
// No thread is ever killed: a callable that ignores its token runs to its end, and with_timeout() returns only then.
// One thread a process, made on first use by a callable that takes a std::stop_token (again in a child of fork()),
// serves all time-outs. A callable without a token is only measured.
// Thread-safety: any thread. Units: std::chrono. Errors: a limit below 1 ns is std::invalid_argument; when no thread
// can be made the limit is checked afterwards only. What the callable throws is a failure{error}.
#pragma once
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>

#include "breaker/clock.hpp"
#include "breaker/invoke.hpp"
#include "breaker/settings.hpp"
#include "result.hpp"

namespace chaos {
namespace detail {

// Requests stops at given times. It has a thread and is never destroyed: threads that outlive main() may wait in it.
class stop_timer {
 public:
  using id = std::pair<std::uint64_t, std::uint64_t>;

  static stop_timer& instance() {
    static std::mutex guard;
    static stop_timer* timer = nullptr;
    static pid_t owner = 0;
    // A child of fork() has neither the thread nor a lock that is surely free: it takes a new timer. The lock above
    // is held for a moment only; programs that fork while other threads first use time-outs must not use them in the
    // child.
    std::lock_guard lock(guard);
    if (!timer || owner != getpid()) {
      timer = new stop_timer;
      owner = getpid();
    }
    return *timer;
  }

  id add(std::uint64_t due_ns, std::stop_source stop) {
    std::lock_guard lock(mutex_);
    if (!running_) {
      std::thread([this] { run(); }).detach();
      running_ = true;
    }
    const id key{due_ns, ++last_};
    const bool first = pending_.empty() || key < pending_.begin()->first;
    pending_.emplace(key, std::move(stop));
    if (first) wake_.notify_one();
    return key;
  }
  void remove(const id& key) {
    std::lock_guard lock(mutex_);
    pending_.erase(key);
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (pending_.empty()) {
        wake_.wait(lock);
        continue;
      }
      const std::uint64_t now = monotonic_ns(), due = pending_.begin()->first.first;
      if (due > now) {
        wake_.wait_for(lock, waitable(std::chrono::nanoseconds(due - now)));
        continue;
      }
      std::stop_source stop = std::move(pending_.begin()->second);
      pending_.erase(pending_.begin());
      lock.unlock();
      stop.request_stop();  // runs the callbacks of the program
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<id, std::stop_source> pending_;
  std::uint64_t last_ = 0;
  bool running_ = false;
};

class stop_after {
 public:
  explicit stop_after(std::uint64_t limit_ns) {
    if (!limit_ns) return;
    try {
      key_ = stop_timer::instance().add(monotonic_ns() + limit_ns, stop_);
      armed_ = true;
    } catch (...) {  // no thread or no memory: the limit is still checked afterwards
    }
  }
  stop_after(const stop_after&) = delete;
  ~stop_after() {
    if (armed_) stop_timer::instance().remove(key_);
  }
  std::stop_token token() const { return stop_.get_token(); }

 private:
  std::stop_source stop_;
  stop_timer::id key_{};
  bool armed_ = false;
};

template <class F>
decltype(auto) invoke_with_deadline(std::uint64_t limit_ns, F&& f) {
  stop_after limit(limit_ns);
  return std::invoke(std::forward<F>(f), limit.token());
}

}  // namespace detail

// `f` takes a std::stop_token or nothing and returns a T (result<T>) or a result<T>.
template <class F>
auto with_timeout(std::chrono::nanoseconds limit, F&& f, const clock_source* clock = nullptr) {
  if (limit.count() < 1) detail::refuse("with_timeout", "", "limit", limit.count(), "at least 1 ns");
  const auto now = [&] { return clock ? clock->now_ns() : monotonic_ns(); };
  const auto limit_ns = static_cast<std::uint64_t>(limit.count());
  const std::uint64_t start = now();
  auto r = [&] {
    if constexpr (std::is_invocable_v<F, std::stop_token>) {
      detail::stop_after stop(limit_ns);
      return detail::invoke_to_result(f, stop.token());
    } else {
      return detail::invoke_to_result(f);
    }
  }();
  if (now() - start > limit_ns) r = decltype(r)(failure{failure_kind::timeout, {}, {}, nullptr});
  return r;
}

}  // namespace chaos
