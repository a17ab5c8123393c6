// Counters that a thread increments without a shared write: 64 threads own a slot each, all others share one.
//
// A slot is a number of the thread, common to every breaker of the process; it goes back at thread exit. The counters
// behind a slot only grow, so a new owner continues where the old one stopped. After fork() the child keeps the slot
// of the forking thread and frees those of the threads that do not exist there (see registry.hpp).
// Thread-safety: each slot has one writer (plain store), the shared slot uses fetch_add; sums may be taken anywhere.
// Errors: none. Hazard: the increment of an owned slot is not atomic against a signal handler of the same thread.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace chaos::detail {

inline constexpr int owned_slots = 64, shared_slot = owned_slots, all_slots = owned_slots + 1;

struct slot_table {
  std::atomic<std::uint64_t> taken{0};
  std::atomic<int> high_water{0};  // slots below this one were owned at some time
};
inline constinit slot_table thread_slots;
inline constinit thread_local int my_slot = -1;

struct slot_owner {
  int slot = -1;
  ~slot_owner() {
    if (slot < 0) return;
    my_slot = shared_slot;  // destructors of other thread-locals may still use breakers
    thread_slots.taken.fetch_and(~(1ull << slot), std::memory_order_release);
  }
};

[[gnu::noinline, gnu::cold]] inline int claim_slot() noexcept {
  std::uint64_t taken = thread_slots.taken.load(std::memory_order_relaxed);
  while (~taken != 0) {
    const int slot = std::countr_one(taken);
    if (!thread_slots.taken.compare_exchange_weak(taken, taken | 1ull << slot, std::memory_order_acq_rel)) continue;
    int seen = thread_slots.high_water.load(std::memory_order_relaxed);
    while (seen <= slot && !thread_slots.high_water.compare_exchange_weak(seen, slot + 1)) {
    }
    static thread_local slot_owner owner;
    owner.slot = slot;
    return my_slot = slot;
  }
  return my_slot = shared_slot;
}

inline int this_slot() noexcept {
  const int slot = my_slot;
  return slot >= 0 ? slot : claim_slot();
}

inline void slots_after_fork_in_child() noexcept {
  const int mine = my_slot;
  thread_slots.taken.store(mine >= 0 && mine < owned_slots ? 1ull << mine : 0, std::memory_order_relaxed);
}

// One increment by the owner of `slot`.
inline void add_one(std::atomic<std::uint64_t>& counter, int slot) noexcept {
  if (slot < owned_slots) [[likely]]
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  else
    counter.fetch_add(1, std::memory_order_relaxed);
}

class shard_counters {
 public:
  void succeeded() noexcept {
    const int s = this_slot();
    add_one(shards_[s].succeeded, s);
  }
  // Returns the new count of this slot, to sample by.
  std::uint64_t rejected() noexcept {
    const int s = this_slot();
    add_one(shards_[s].rejected, s);
    return shards_[s].rejected.load(std::memory_order_relaxed);
  }
  void ignored() noexcept {
    const int s = this_slot();
    add_one(shards_[s].ignored, s);
  }
  void fell_back() noexcept {
    const int s = this_slot();
    add_one(shards_[s].fallbacks, s);
  }

  std::uint64_t total_succeeded() const noexcept { return total(&shard::succeeded); }
  std::uint64_t total_rejected() const noexcept { return total(&shard::rejected); }
  std::uint64_t total_ignored() const noexcept { return total(&shard::ignored); }
  std::uint64_t total_fallbacks() const noexcept { return total(&shard::fallbacks); }

 private:
  struct alignas(64) shard {
    std::atomic<std::uint64_t> succeeded{0}, rejected{0}, ignored{0}, fallbacks{0};
  };
  std::uint64_t total(std::atomic<std::uint64_t> shard::*counter) const noexcept {
    const int used = std::min(thread_slots.high_water.load(std::memory_order_relaxed), owned_slots);
    std::uint64_t sum = (shards_[shared_slot].*counter).load(std::memory_order_relaxed);
    for (int i = 0; i < used; ++i) sum += (shards_[i].*counter).load(std::memory_order_relaxed);
    return sum;
  }
  std::array<shard, all_slots> shards_;
};

}  // namespace chaos::detail
