// Bits flipped in what a call brings, and in a copy of what it sends.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

// The send goes out of a corrupted copy: the caller's buffer is never written. False: there is nothing to copy.
bool copy_out(frame& f);
void drop_copy(frame& f);

// The bytes do not come into the program: thrown away (MSG_TRUNC of a stream), or moved by the kernel.
bool lands_nowhere(const frame& f);

void corrupt_in(frame& f, std::uint64_t n);  // the first n bytes that came

}  // namespace chaos::hooks
