// Latencies in buckets that grow with them, as in HdrHistogram: below 128 ns one a value, above that 64 a doubling. So a bucket's
// upper end is at most 1/64 above every value in it, and a histogram has at most 3,700 buckets however much it counts.
#pragma once
#include <cstdint>
#include <map>

namespace chaos::experiment {

class histogram {
 public:
  void record(std::int64_t ns) { ++counts_[bucket_of(ns)], ++total_; }
  std::uint64_t total() const { return total_; }
  // Upper ends of the buckets that are not empty, rising, with what is in them.
  std::map<std::int64_t, std::uint64_t> buckets() const {
    std::map<std::int64_t, std::uint64_t> out;
    for (const auto& [bucket, n] : counts_) out[upper_end(bucket)] = n;
    return out;
  }

  static constexpr std::uint32_t bucket_of(std::int64_t ns) {
    const std::uint64_t v = ns < 0 ? 0 : static_cast<std::uint64_t>(ns);
    if (v < 128) return static_cast<std::uint32_t>(v);
    const unsigned shift = 57u - static_cast<unsigned>(__builtin_clzll(v));  // leaves 7 bits, the first of them set
    return (shift + 1) * 64 + static_cast<std::uint32_t>(v >> shift);
  }
  static constexpr std::int64_t upper_end(std::uint32_t bucket) {
    if (bucket < 128) return bucket;
    const unsigned shift = bucket / 64 - 2;
    const std::uint64_t mantissa = bucket % 64 + 64;
    return static_cast<std::int64_t>(((mantissa + 1) << shift) - 1);
  }

 private:
  std::map<std::uint32_t, std::uint64_t> counts_;
  std::uint64_t total_ = 0;
};

}  // namespace chaos::experiment
