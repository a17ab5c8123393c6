// corrupt: flips bits. On a stream the flips depend on the offset alone, so that a peek and the read that follows see
// the same bytes; elsewhere on the operation. P is per byte (one bit of a byte that is hit), --bits N is per call,
// and never more than there are.
#pragma once
#include <cstddef>

#include "verdict.hpp"

namespace chaos::effects::corrupt {

inline void apply(core::fired_rule& f, const situation&, verdict& v) {
  if (!f.rule->dry_run) ++v.corrupting;
}

// Flips in data[0..n), which stands at `offset` of the stream or datagram. Returns bits flipped.
inline std::uint64_t flip(const core::fired_rule& f, bool stream, std::uint64_t offset, unsigned char* data, std::size_t n) {
  const core::random_key key = f.key.with(4);
  std::uint64_t flipped = 0;
  if (f.bits) {
    core::draws d(key.with(stream ? offset : 0), stream ? 0 : f.operation);
    for (const std::uint64_t most = f.bits < n * 8 ? f.bits : n * 8; flipped < most; ++flipped) {
      const std::uint64_t bit = d.below(n * 8);
      data[bit / 8] ^= static_cast<unsigned char>(1u << (bit % 8));
    }
    return flipped;
  }
  for (std::size_t i = 0; i < n; ++i) {
    core::draws d(key.with(stream ? 0 : f.operation), offset + i);
    if (!d.chance(f.amount)) continue;
    data[i] ^= static_cast<unsigned char>(1u << (d.word() & 7));
    ++flipped;
  }
  return flipped;
}

}  // namespace chaos::effects::corrupt
