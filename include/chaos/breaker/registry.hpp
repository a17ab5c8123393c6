// All breakers of the process, their Prometheus text, and their state across fork().
//
//   std::cout << chaos::breakers().prometheus();
//   chaos::breakers().with("redis", [](chaos::breaker& b) { b.force_open(); });
//
// Thread-safety: all of it. Errors: none but std::bad_alloc.
// Hazard: a function given to with() or each() runs under the registry's lock: it must neither make nor destroy a
// breaker, nor fork. fork() takes every breaker's lock first, so that a child never inherits one that is held.
#pragma once
#include <pthread.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core.hpp"

namespace chaos {

class breaker;

class breaker_registry {
 public:
  // Calls f(breaker) for the first breaker of that name; false when there is none.
  template <class F>
  bool with(std::string_view name, F&& f) {
    std::lock_guard lock(mutex_);
    for (const entry& e : entries_)
      if (e.core->name() == name) {
        f(*e.owner);
        return true;
      }
    return false;
  }
  template <class F>
  void each(F&& f) {
    std::lock_guard lock(mutex_);
    for (const entry& e : entries_) f(*e.owner);
  }
  std::vector<breaker_metrics> metrics() {
    std::lock_guard lock(mutex_);
    std::vector<breaker_metrics> all;
    for (const entry& e : entries_) all.push_back(e.core->metrics());
    return all;
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
    std::lock_guard lock(mutex_);
    std::erase_if(entries_, [&](const entry& e) { return e.owner == owner; });
  }

  static void prepare_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();

  std::mutex mutex_;
  std::vector<entry> entries_;
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
  for (const entry& e : r.entries_) {
    e.core->after_fork_in_child();
    e.core->hub().mutex.unlock();
  }
  r.mutex_.unlock();
}

}  // namespace chaos
