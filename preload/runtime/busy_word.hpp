// A word that one thread at a time holds, by its tid: short work, never across a call that can block. No lock in the usual
// sense: a holder that is gone (killed, or left behind by fork) is found out, and a signal handler that meets its own
// thread's work is turned away.
#pragma once
#include <atomic>
#include <cstdint>

namespace chaos {

// False in such a signal handler, and when the holder does not give it back within a second.
bool take_word(std::atomic<std::uint32_t>& word);
inline void give_word(std::atomic<std::uint32_t>& word) { word.store(0, std::memory_order_release); }

}  // namespace chaos
