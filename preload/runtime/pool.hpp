// Records in pages of their own, made at first use: any thread takes one and gives it back, without a lock. A record has a word
// `in_use`; whoever takes it begins its contents.
#pragma once
#include <atomic>
#include <cstdint>

#include "syscalls.hpp"

namespace chaos {

template <class T, std::uint32_t most>
class pool {
 public:
  T* take() {  // nullptr: all are in use
    T* const all = records();
    if (!all) return nullptr;
    // From the front, so that few records touch few pages.
    const std::uint32_t hint = first_.load(std::memory_order_relaxed);
    for (std::uint32_t k = 0; k < most; ++k) {
      T& record = all[(hint + k) % most];
      std::uint32_t free = 0;
      if (!record.in_use.compare_exchange_strong(free, 1, std::memory_order_acq_rel)) continue;
      first_.store((hint + k + 1) % most, std::memory_order_relaxed);
      return &record;
    }
    return nullptr;
  }

  void give_back(T& record) {
    record.in_use.store(0, std::memory_order_release);
    const auto index = static_cast<std::uint32_t>(&record - records_.load(std::memory_order_acquire));
    std::uint32_t first = first_.load(std::memory_order_relaxed);
    while (index < first && !first_.compare_exchange_weak(first, index, std::memory_order_relaxed)) {}
  }

 private:
  T* records() {
    T* there = records_.load(std::memory_order_acquire);
    if (there) return there;
    auto* fresh = static_cast<T*>(sys::pages(sizeof(T) * most));
    if (!fresh) return nullptr;
    if (records_.compare_exchange_strong(there, fresh, std::memory_order_acq_rel)) return fresh;
    sys::unmap(fresh, sizeof(T) * most);
    return there;
  }

  std::atomic<T*> records_{nullptr};
  std::atomic<std::uint32_t> first_{0};  // no record before it is free
};

}  // namespace chaos
