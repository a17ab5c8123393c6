// Records in pages of their own, made a part at a time when they are first needed: any thread takes one and gives it back,
// without a lock. A record has a word `in_use`; whoever takes it begins its contents.
#pragma once
#include <atomic>
#include <cstdint>

#include "syscalls.hpp"

namespace chaos {

template <class T, std::uint32_t most>
class pool {
 public:
  T* take() {  // nullptr: all are in use, or there is no memory for more
    // From the front, so that few records touch few pages.
    const std::uint32_t hint = first_.load(std::memory_order_relaxed);
    for (std::uint32_t k = 0; k < most; ++k) {
      const std::uint32_t index = (hint + k) % most;
      T* const part = part_with(index);
      if (!part) {
        k += in_part - index % in_part - 1;
        continue;
      }
      T& record = part[index % in_part];
      std::uint32_t free = 0;
      if (!record.in_use.compare_exchange_strong(free, 1, std::memory_order_acq_rel)) continue;
      first_.store((index + 1) % most, std::memory_order_relaxed);
      return &record;
    }
    return nullptr;
  }

  void give_back(T& record) {
    record.in_use.store(0, std::memory_order_release);
    std::uint32_t index = 0;
    for (const std::atomic<T*>& part : parts_) {
      const T* const there = part.load(std::memory_order_acquire);
      if (there && &record >= there && &record < there + in_part) {
        index += static_cast<std::uint32_t>(&record - there);
        break;
      }
      index += in_part;
    }
    std::uint32_t first = first_.load(std::memory_order_relaxed);
    while (index < first && !first_.compare_exchange_weak(first, index, std::memory_order_relaxed)) {}
  }

 private:
  static constexpr std::uint32_t parts = 16, in_part = most / parts;
  static_assert(most % parts == 0);

  T* part_with(std::uint32_t index) {
    std::atomic<T*>& part = parts_[index / in_part];
    T* there = part.load(std::memory_order_acquire);
    if (there) return there;
    auto* const fresh = static_cast<T*>(sys::pages(sizeof(T) * in_part));
    if (!fresh) return nullptr;
    if (part.compare_exchange_strong(there, fresh, std::memory_order_acq_rel)) return fresh;
    sys::unmap(fresh, sizeof(T) * in_part);
    return there;
  }

  std::atomic<T*> parts_[parts]{};
  std::atomic<std::uint32_t> first_{0};  // no record before it is free
};

}  // namespace chaos
