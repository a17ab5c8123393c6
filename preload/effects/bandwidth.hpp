// bandwidth: a token bucket. Arriving data is released at the rate by the delay line (runtime/delay_line); what leaves
// waits, or is sent in pieces. Buckets are kept as virtual time: the moment at which the bucket is empty.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::bandwidth {

inline constexpr std::uint64_t burst_ns = 50'000'000;  // what may have gathered unused: covers a late wake-up
inline constexpr std::uint64_t piece_ns = 5'000'000;   // released at a time: few wake-ups, little lateness

constexpr std::uint64_t time_of(std::uint64_t bytes, std::uint64_t rate) {
  return rate ? static_cast<std::uint64_t>(static_cast<unsigned __int128>(bytes) * 1'000'000'000 / rate) : 0;
}
constexpr std::uint64_t bytes_in(std::uint64_t ns, std::uint64_t rate) {
  return static_cast<std::uint64_t>(static_cast<unsigned __int128>(ns) * rate / 1'000'000'000);
}

inline bool apply(core::fired_rule& f, const situation& s, verdict& v) {
  if (!s.size) return false;  // an end, or what stdio moves on its own
  f.delay_ns = time_of(s.size, f.rule->bytes);
  if (!f.rule->dry_run) v.bandwidth = &f;
  return true;
}

}  // namespace chaos::effects::bandwidth
