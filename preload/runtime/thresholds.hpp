// Receive thresholds that shims have raised, for all processes of the session to see.
#pragma once
#include <cstdint>

namespace chaos::thresholds {

// About to raise the threshold of this socket, which reads `present` now. Returns what the program's own is: another process
// that shares the socket may have raised it before.
int note(std::uint64_t inode, int present);

// It is lowered, or should be: what it was before; 0 when nobody is known to have raised it.
int take_back(std::uint64_t inode);

}  // namespace chaos::thresholds
