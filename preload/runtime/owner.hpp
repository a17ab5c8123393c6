// Words of a connection that one thread changes again and again (operations, bytes). As long as only one thread uses the
// connection it owns them and adds without a lock, for the reason that lanes.hpp gives. The first other thread that
// comes takes the ownership away for good: biased locking with an asymmetric fence (Dice, Moir, Scherer: "Quickly
// Reacquirable Locks", 2003), the fence being membarrier(2).
#pragma once
#include "descriptors.hpp"

namespace chaos {

// An addition to a word that nobody else adds to at this time. Returns what was there before.
inline std::uint64_t add_alone(std::atomic<std::uint64_t>& word, std::uint64_t n) {
#if defined(__x86_64__)
  asm volatile("xaddq %0, %1" : "+r"(n), "+m"(word) : : "cc");  // one instruction: no signal comes between
  return n;
#else
  return word.fetch_add(n, std::memory_order_relaxed);
#endif
}

// The same for a word that is to go from one value to another; `from`: what is there instead, when it fails.
inline bool exchange_alone(std::atomic<std::uint64_t>& word, std::uint64_t& from, std::uint64_t to) {
#if defined(__x86_64__)
  bool done;
  asm volatile("cmpxchgq %3, %1" : "=@cce"(done), "+m"(word), "+a"(from) : "r"(to));
  return done;
#else
  return word.compare_exchange_strong(from, to, std::memory_order_relaxed);
#endif
}

inline constexpr std::int32_t shared_by_threads = -1;  // descriptor::owner

// The thread's own window on the words. Between enter() and leave() nobody takes the ownership away; nothing in between
// may block. Signal handlers that come in between do the same and are done before we go on.
struct owner_window {
  descriptor& d;
  bool owned;
  explicit owner_window(descriptor& of) : d(of), owned(false) {
    const std::int32_t me = this_thread.tid;
    if (d.owner.load(std::memory_order_relaxed) != me || !me) return;
    step(1);
    owned = d.owner.load(std::memory_order_relaxed) == me;
    if (!owned) step(-1);
  }
  ~owner_window() { if (owned) step(-1); }
  owner_window(const owner_window&) = delete;

  // Returns what was there before.
  std::uint64_t add(std::atomic<std::uint64_t>& word, std::uint64_t n) const {
    return owned ? add_alone(word, n) : word.fetch_add(n, std::memory_order_relaxed);
  }
  // False: somebody was faster, and `from` says how far it is.
  bool advance(std::atomic<std::uint64_t>& word, std::uint64_t& from) const {
    return owned ? exchange_alone(word, from, from + 1) : word.compare_exchange_strong(from, from + 1, std::memory_order_relaxed);
  }

 private:
  void step(int n) {
    asm volatile("" : : : "memory");
    d.owner_inside.store(static_cast<std::uint8_t>(d.owner_inside.load(std::memory_order_relaxed) + n), std::memory_order_relaxed);
    asm volatile("" : : : "memory");
  }
};

// A connection that nobody owns becomes ours; one that another thread owns becomes everybody's. Call before changing its words.
void change_owner(descriptor& d);
inline void own_or_share(descriptor& d) {
  const std::int32_t owner = d.owner.load(std::memory_order_relaxed);
  if (owner != shared_by_threads && (owner != this_thread.tid || !owner)) change_owner(d);
}

}  // namespace chaos
