#include "bucket.hpp"

#include "preload/effects/bandwidth.hpp"
#include "process.hpp"

namespace chaos {

std::uint64_t through_bucket(std::atomic<std::uint64_t>& bucket, std::uint64_t bytes, std::uint64_t rate, std::uint64_t now_ns, bool take) {
  std::uint64_t empty = bucket.load(std::memory_order_relaxed), through;
  do {
    const std::uint64_t floor = now_ns - effects::bandwidth::burst_ns;
    through = (empty > floor ? empty : floor) + effects::bandwidth::time_of(bytes, rate);
  } while (take && !bucket.compare_exchange_weak(empty, through, std::memory_order_relaxed));
  return through;
}

void begin_empty(std::atomic<std::uint64_t>& bucket, std::uint64_t now_ns) {
  std::uint64_t unused = 0;
  bucket.compare_exchange_strong(unused, now_ns, std::memory_order_relaxed);
}

std::atomic<std::uint64_t>* shared_bucket(const core::fired_rule& r) {
  return (r.flags & abi::rule_flags::shared_bucket) && report && r.slot < abi::rule_max ? &report->rules[r.slot].bucket : nullptr;
}

}  // namespace chaos
