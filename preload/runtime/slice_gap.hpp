// The time between two slices of a stream (slicer --delay): data lies there, and is not to be seen before it is over.
#pragma once
#include "descriptors.hpp"

namespace chaos {

void begin_gap(slice_gap& gap, std::uint64_t until_ns, std::uint32_t rule);

// Until when something that could move now is held back; 0: it is not. Who asks is held from then on.
std::uint64_t gap_until(slice_gap& gap, std::uint64_t now_ns);

// A slice moves: for how long it was held back by the gap before it.
std::uint64_t end_gap(slice_gap& gap);

inline bool has_gap(const slice_gap& gap) { return gap.due_ns.load(std::memory_order_relaxed) != 0; }

}  // namespace chaos
