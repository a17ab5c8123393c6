// Transitions of a breaker and the listeners told of them.
//
//   auto s = redis.on_transition([](const chaos::transition& t) { log(to_string(t.to), to_string(t.reason)); });
//
// Transitions are queued under the breaker's lock and delivered outside of it, one at a time and in the order in
// which they happened, by a thread that caused one. A listener may use the breaker, subscribe and unsubscribe; what
// it throws is counted and dropped. When more than 64 wait, the oldest is lost and counted. Thread-safety: all of it.
// Units: `at` is monotonic time. Errors: none; subscribing allocates. Hazard: ending a subscription waits for a
// delivery that runs in another thread; do not do so under a lock that the listener takes.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "word.hpp"

namespace chaos {

enum class transition_reason : std::uint8_t {
  consecutive_failures,
  failure_rate,
  slow_calls,        // closed → open
  recovery_elapsed,  // open → half_open
  probes_succeeded,
  probe_failed,
  probe_slow,
  probe_timeout,  // half_open → closed or open
  forced,
  reset,
  command,
  restored  // by the program, by chaos-ctl, from storage
};

inline constexpr const char* to_string(transition_reason r) noexcept {
  constexpr const char* names[] = {"consecutive_failures",
                                   "failure_rate",
                                   "slow_calls",
                                   "recovery_elapsed",
                                   "probes_succeeded",
                                   "probe_failed",
                                   "probe_slow",
                                   "probe_timeout",
                                   "forced",
                                   "reset",
                                   "command",
                                   "restored"};
  return names[static_cast<unsigned>(r) < 12 ? static_cast<unsigned>(r) : 0];
}

struct transition {
  std::string_view breaker;  // valid during the call of the listener
  state from = state::closed, to = state::closed;
  transition_reason reason = transition_reason::forced;
  std::chrono::nanoseconds at{0};
};

namespace detail {

using transition_listener = std::function<void(const transition&)>;

// The lock of a breaker, and what it guards on the side of the listeners. Shared with subscriptions, which may
// outlive the breaker.
class event_hub {
 public:
  std::mutex mutex;

  // With the lock held.
  void push(const transition& t) noexcept {
    if (count_ == queue_.size()) {
      head_ = (head_ + 1) % queue_.size();
      --count_;
      lost_.fetch_add(1, std::memory_order_relaxed);
    }
    queue_[(head_ + count_++) % queue_.size()] = t;
    pending_.store(true, std::memory_order_release);
  }

  // Without the lock. `observe` is called for each transition before the listeners.
  template <class Observe>
  void drain(Observe&& observe) noexcept {
    if (!pending_.load(std::memory_order_acquire)) return;
    std::unique_lock lock(mutex);
    if (delivering_.load(std::memory_order_relaxed)) return;  // that thread takes ours too, in order
    deliverer_ = std::this_thread::get_id();
    while (count_) {
      const transition t = queue_[head_];
      head_ = (head_ + 1) % queue_.size();
      if (--count_ == 0) pending_.store(false, std::memory_order_relaxed);
      std::shared_ptr<const list> listeners = listeners_;
      delivering_.store(true, std::memory_order_relaxed);
      lock.unlock();
      observe(t);
      if (listeners)
        for (const auto& l : *listeners) deliver(*l, t);
      listeners.reset();
      lock.lock();
      delivering_.store(false, std::memory_order_release);
      delivering_.notify_all();
    }
  }

  struct listener {
    explicit listener(transition_listener f) : call(std::move(f)) {}
    transition_listener call;
    std::atomic<bool> active{true};
  };

  std::shared_ptr<listener> add(transition_listener f) {
    auto added = std::make_shared<listener>(std::move(f));
    std::lock_guard lock(mutex);
    auto next = listeners_ ? std::make_shared<list>(*listeners_) : std::make_shared<list>();
    next->push_back(added);
    listeners_ = std::move(next);
    return added;
  }
  void remove(const std::shared_ptr<listener>& gone) noexcept {
    std::unique_lock lock(mutex);
    gone->active.store(false, std::memory_order_release);
    try {
      auto next = std::make_shared<list>();
      for (const auto& l : *listeners_)
        if (l != gone) next->push_back(l);
      listeners_ = std::move(next);
    } catch (...) {  // no memory: it stays in the list, inactive
    }
    if (!delivering_.load(std::memory_order_relaxed) || deliverer_ == std::this_thread::get_id()) return;
    lock.unlock();
    delivering_.wait(true, std::memory_order_acquire);
  }

  void after_fork_in_child() noexcept {  // with the lock held, as the forking thread took it
    if (!delivering_.load(std::memory_order_relaxed) || deliverer_ == std::this_thread::get_id()) return;
    delivering_.store(false, std::memory_order_relaxed);  // its thread does not exist here; the parent delivers
    head_ = count_ = 0;
    pending_.store(false, std::memory_order_relaxed);
  }

  std::uint64_t listener_errors() const noexcept { return errors_.load(std::memory_order_relaxed); }
  std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  using list = std::vector<std::shared_ptr<listener>>;

  void deliver(const listener& l, const transition& t) noexcept {
    if (!l.active.load(std::memory_order_acquire)) return;
    try {
      l.call(t);
    } catch (...) {
      errors_.fetch_add(1, std::memory_order_relaxed);
    }
  }

  std::array<transition, 64> queue_{};
  std::size_t head_ = 0, count_ = 0;
  std::atomic<bool> pending_{false}, delivering_{false};
  std::thread::id deliverer_;
  std::shared_ptr<const list> listeners_;
  std::atomic<std::uint64_t> errors_{0}, lost_{0};
};

}  // namespace detail

// Ends with its destructor. Move-only.
class [[nodiscard]] subscription {
 public:
  subscription() = default;
  subscription(std::shared_ptr<detail::event_hub> hub, std::shared_ptr<detail::event_hub::listener> l)
      : hub_(std::move(hub)), listener_(std::move(l)) {}
  subscription(subscription&&) noexcept = default;
  subscription& operator=(subscription&& o) noexcept {
    if (this != &o) {
      reset();
      hub_ = std::move(o.hub_);
      listener_ = std::move(o.listener_);
    }
    return *this;
  }
  ~subscription() { reset(); }
  void reset() noexcept {
    if (hub_ && listener_) hub_->remove(listener_);
    hub_.reset();
    listener_.reset();
  }

 private:
  std::shared_ptr<detail::event_hub> hub_;
  std::shared_ptr<detail::event_hub::listener> listener_;
};

}  // namespace chaos
