// Token buckets of bandwidth, kept as virtual time: the moment at which a bucket is empty.
#pragma once
#include <atomic>
#include <cstdint>

#include "preload/core/judge.hpp"

namespace chaos {

// The moment at which `bytes` more are through the bucket; reserves them when `take`.
std::uint64_t through_bucket(std::atomic<std::uint64_t>& bucket, std::uint64_t bytes, std::uint64_t rate, std::uint64_t now_ns, bool take);
void begin_empty(std::atomic<std::uint64_t>& bucket, std::uint64_t now_ns);  // at its first use nothing may pass at once
std::atomic<std::uint64_t>* shared_bucket(const core::fired_rule& r);  // nullptr: one for each connection

}  // namespace chaos
