// slicer: reads and writes move fewer bytes than asked, as the kernel may at any time (toxiproxy's slicer). --delay lies
// between two slices: after one nothing moves that way for so long (runtime/slice_gap). What that really held anybody is
// known when the next slice moves, and told with that one.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::slicer {

// False when the call is too small to be cut, and no gap lies behind it.
inline bool apply(core::fired_rule& f, const situation& s, verdict& v) {
  core::draws d(f.key.with(5), f.operation);
  const std::uint64_t average = f.rule->average_size ? f.rule->average_size : 64;
  const std::uint64_t spread = f.rule->size_variation < average ? f.rule->size_variation : average - 1;
  std::uint64_t size = average - spread + d.below(2 * spread + 1);
  if (size < s.least) size = s.least;
  const bool cuts = size < s.size;
  if (f.rule->dry_run || (!cuts && !f.rule->delay_ns)) return cuts || f.rule->delay_ns;
  if (cuts && size < v.cap) v.cap = size;
  v.gap_ns += f.rule->delay_ns;
  return true;
}

}  // namespace chaos::effects::slicer
