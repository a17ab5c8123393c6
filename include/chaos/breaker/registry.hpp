// All breakers of the process, their Prometheus text, and their state across fork().
//
//   std::cout << chaos::breakers().prometheus();
//   chaos::breakers().with("redis", [](chaos::breaker& b) { b.force_open(); });
//
// Thread-safety: all of it. Errors: none but std::bad_alloc; what a function given to with() or each() throws.
// Such a function, and a listener that it sets off, runs without the registry's lock: it may use the registry, make and
// destroy other breakers, and fork. The breaker that it was given lives until it returns: a destructor in another thread
// waits for that, so do not wait for such a thread there. Whether each() and metrics() meet a breaker that is made or
// destroyed meanwhile is open. fork() takes every breaker's lock first, so that a child never inherits one that is held.
#pragma once
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <iterator>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core.hpp"

namespace chaos {

class breaker;

class breaker_registry {
 public:
  // Calls f(breaker) for the first breaker of that name; false when there is none.
  template <class F>
  bool with(std::string_view name, F&& f) {
    for (const entry& e : all([&](const entry& one) { return one.core->name() == name; }))
      if (visit(e, [&] { f(*e.owner); })) return true;
    return false;
  }
  template <class F>
  void each(F&& f) {
    for (const entry& e : all()) visit(e, [&] { f(*e.owner); });
  }
  std::vector<breaker_metrics> metrics() {
    std::vector<breaker_metrics> found;
    for (const entry& e : all()) visit(e, [&] { found.push_back(e.core->metrics()); });  // may make a transition, and so call listeners
    return found;
  }
  // Prometheus text exposition format 0.0.4. Defined in prometheus.hpp.
  std::string prometheus();

 private:
  friend class breaker;
  friend breaker_registry& breakers();
  struct entry {
    breaker* owner;
    detail::breaker_core* core;
  };

  breaker_registry() { pthread_atfork(&prepare_fork, &after_fork_in_parent, &after_fork_in_child); }
  void add(breaker* owner, detail::breaker_core* core) {
    std::lock_guard lock(mutex_);
    entries_.push_back({owner, core});
  }
  void remove(const breaker* owner) noexcept {
    std::unique_lock lock(mutex_);
    std::erase_if(entries_, [&](const entry& e) { return e.owner == owner; });
    while (in_use_elsewhere(owner)) {
      const std::uint32_t seen = uses_ended_.load(std::memory_order_relaxed);
      lock.unlock();
      uses_ended_.wait(seen, std::memory_order_relaxed);
      lock.lock();
    }
  }

  // A function of the program is with a breaker, which therefore stays.
  struct use {
    const breaker* of;
    std::thread::id by;
    bool operator==(const use&) const = default;
  };
  // With the lock held.
  bool in_use_elsewhere(const breaker* owner) const noexcept {
    return std::any_of(uses_.begin(), uses_.end(), [&](const use& u) { return u.of == owner && u.by != std::this_thread::get_id(); });
  }
  template <class Which>
  std::vector<entry> all(Which&& which) {
    std::lock_guard lock(mutex_);
    std::vector<entry> found;
    std::copy_if(entries_.begin(), entries_.end(), std::back_inserter(found), which);
    return found;
  }
  std::vector<entry> all() {
    return all([](const entry&) { return true; });
  }
  // false: it is gone.
  template <class F>
  bool visit(const entry& e, F&& f) {
    const use mine{e.owner, std::this_thread::get_id()};
    {
      std::lock_guard lock(mutex_);
      if (std::none_of(entries_.begin(), entries_.end(), [&](const entry& one) { return one.owner == e.owner && one.core == e.core; })) return false;
      uses_.push_back(mine);
    }
    struct ending {
      breaker_registry& r;
      const use& u;
      ~ending() {
        std::lock_guard lock(r.mutex_);
        r.uses_.erase(std::find(r.uses_.begin(), r.uses_.end(), u));
        r.uses_ended_.fetch_add(1, std::memory_order_relaxed);
        r.uses_ended_.notify_all();
      }
    } const end{*this, mine};
    f();
    return true;
  }

  static void prepare_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();

  std::mutex mutex_;
  std::vector<entry> entries_;
  std::vector<use> uses_;
  std::atomic<std::uint32_t> uses_ended_{0};
};

// Never destroyed: breakers with static storage may outlive it otherwise.
inline breaker_registry& breakers() {
  static breaker_registry* all = new breaker_registry;
  return *all;
}

inline void breaker_registry::prepare_fork() {
  breaker_registry& r = breakers();
  r.mutex_.lock();
  for (const entry& e : r.entries_) e.core->hub().mutex.lock();
}
inline void breaker_registry::after_fork_in_parent() {
  breaker_registry& r = breakers();
  for (const entry& e : r.entries_) e.core->hub().mutex.unlock();
  r.mutex_.unlock();
}
inline void breaker_registry::after_fork_in_child() {
  breaker_registry& r = breakers();
  detail::slots_after_fork_in_child();
  std::erase_if(r.uses_, [](const use& u) { return u.by != std::this_thread::get_id(); });  // the others do not exist here
  for (const entry& e : r.entries_) {
    e.core->after_fork_in_child();
    e.core->hub().mutex.unlock();
  }
  r.mutex_.unlock();
}

}  // namespace chaos
