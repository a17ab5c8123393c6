// The two sliding windows of a breaker.
//
// event_ring: which of the last N calls were events (failures, slow calls). It stores the index of each event, never
// of a success, so that it is exact (a call leaves the window with the N-th call after it) and successes cost
// nothing. time_window: calls of the last `monitoring_period`, in slices of a sixteenth of it, the newest 16 of which
// count. Successes go to a row of the thread's own slot; the rest is added under the breaker's lock. Thread-safety:
// event_ring and time_window::add_event/totals need the breaker's lock; time_window::add_success does not. Units:
// nanoseconds. Errors: none. Algorithm: measured in the project's prototype against a brute-force window.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "shards.hpp"

namespace chaos::detail {

class event_ring {
 public:
  explicit event_ring(std::uint32_t window) : position_(window) {}

  void push(std::uint64_t call) noexcept {
    expire(call);  // leaves room: the window holds at most N calls and this is one of them
    if (count_ == position_.size()) drop_oldest();
    std::size_t at = head_ + count_++;
    if (at >= position_.size()) at -= position_.size();
    position_[at] = call;
  }
  // Events among the last N calls, the last of which has index `call`.
  std::uint32_t count_at(std::uint64_t call) noexcept {
    expire(call);
    return static_cast<std::uint32_t>(count_);
  }
  void clear() noexcept { head_ = count_ = 0; }

 private:
  void drop_oldest() noexcept {
    if (++head_ == position_.size()) head_ = 0;
    --count_;
  }
  void expire(std::uint64_t call) noexcept {
    while (count_ && position_[head_] + position_.size() <= call) drop_oldest();
  }
  std::vector<std::uint64_t> position_;
  std::size_t head_ = 0, count_ = 0;
};

class time_window {
 public:
  static constexpr unsigned slices = 16;
  struct totals_type {
    std::uint64_t calls = 0, failed = 0, slow = 0;
  };

  time_window(std::uint64_t period_ns, std::uint64_t now_ns) : slice_ns_((period_ns + slices - 1) / slices) {
    if (!period_ns) return;
    origin_ns_.store(now_ns - (slices + 1) * slice_ns_, std::memory_order_relaxed);
    rows_ = std::make_unique<row[]>(all_slots);
  }
  bool enabled() const noexcept { return rows_ != nullptr; }

  void add_success(std::uint64_t now_ns) noexcept {
    const int slot = this_slot();
    const std::uint64_t epoch = epoch_at(now_ns);
    auto& bucket = rows_[slot].bucket[epoch % slices];
    std::uint64_t old = bucket.load(std::memory_order_relaxed);
    if (slot < owned_slots) return bucket.store(bumped(old, epoch), std::memory_order_relaxed);
    while (!bucket.compare_exchange_weak(old, bumped(old, epoch), std::memory_order_relaxed)) {
    }
  }
  void add_event(std::uint64_t now_ns, bool failed, bool slow) noexcept {
    const std::uint64_t epoch = epoch_at(now_ns);
    locked_slice& s = locked_[epoch % slices];
    if (s.epoch != epoch) s = {epoch, 0, 0, 0};
    ++s.calls;
    s.failed += failed;
    s.slow += slow;
  }
  totals_type totals(std::uint64_t now_ns) const noexcept {
    totals_type sum;
    const std::uint64_t epoch = epoch_at(now_ns);
    for (const locked_slice& s : locked_) {
      if (s.epoch > epoch || s.epoch + slices <= epoch) continue;
      sum.calls += s.calls;
      sum.failed += s.failed;
      sum.slow += s.slow;
    }
    const int used = std::min(thread_slots.high_water.load(std::memory_order_relaxed), owned_slots);
    for (int slot = 0; slot < used; ++slot) sum.calls += row_total(rows_[slot], epoch);
    sum.calls += row_total(rows_[shared_slot], epoch);
    return sum;
  }
  // Forgets everything by moving the origin back, so that every call so far is older than the window. One word: a
  // thread that is about to count a success sees the old or the new origin, never half of each.
  void clear() noexcept {
    origin_ns_.store(origin_ns_.load(std::memory_order_relaxed) - (slices + 1) * slice_ns_,
                     std::memory_order_relaxed);
  }

 private:
  // A bucket is epoch:24 | count:40. A bucket is mistaken for a current one only when its thread was idle for a
  // multiple of 2^24 slices.
  static constexpr unsigned count_bits = 40;
  static constexpr std::uint64_t bucket_count_mask = (1ull << count_bits) - 1, epoch_mask = (1ull << 24) - 1;
  struct alignas(64) row {
    std::array<std::atomic<std::uint64_t>, slices> bucket{};
  };
  struct locked_slice {
    std::uint64_t epoch = 0, calls = 0, failed = 0, slow = 0;
  };

  static std::uint64_t row_total(const row& r, std::uint64_t epoch) noexcept {
    std::uint64_t sum = 0;
    for (const auto& bucket : r.bucket) {
      const std::uint64_t b = bucket.load(std::memory_order_relaxed);
      if (b && ((epoch - (b >> count_bits)) & epoch_mask) < slices) sum += b & bucket_count_mask;
    }
    return sum;
  }
  std::uint64_t epoch_at(std::uint64_t now_ns) const noexcept {
    return (now_ns - origin_ns_.load(std::memory_order_relaxed)) / slice_ns_;
  }
  static std::uint64_t bumped(std::uint64_t bucket, std::uint64_t epoch) noexcept {
    return (bucket >> count_bits) == (epoch & epoch_mask) ? bucket + 1 : (epoch & epoch_mask) << count_bits | 1;
  }

  std::uint64_t slice_ns_;
  std::atomic<std::uint64_t> origin_ns_{0};
  std::unique_ptr<row[]> rows_;
  std::array<locked_slice, slices> locked_{};
};

}  // namespace chaos::detail
