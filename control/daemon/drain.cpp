#include "drain.hpp"

#include <algorithm>

namespace chaos::daemon {

void drain::run(std::uint64_t now_ns, const taker& take) {
  const std::uint64_t head = report_.ring_head();
  if (head < next_) {  // only a broken target moves it back: nothing of what lies there can be trusted
    next_ = head;
    stuck_since_ns_ = 0;
    return;
  }
  if (head - next_ > abi::ring_slots) {
    const std::uint64_t oldest = head - abi::ring_slots;
    lost_ += oldest - next_;
    next_ = oldest;
    stuck_since_ns_ = 0;
  }
  if (head == next_) return;
  const auto slots = report_.ring(next_, head - next_);
  // Tickets up to this one may have been written over while they were copied.
  const std::uint64_t after = report_.ring_head();
  const std::uint64_t overrun = after > abi::ring_slots ? after - abi::ring_slots : 0;
  for (const plain_ring_slot& slot : slots) {
    const std::uint64_t done = 2 * next_ + 2;
    if (next_ < overrun || slot.sequence > done) {
      ++lost_;
    } else if (slot.sequence == done) {
      ++taken_;
      take(next_, slot.entry);
    } else {  // not written yet
      if (stuck_since_ns_ == 0) stuck_since_ns_ = now_ns;
      if (now_ns - stuck_since_ns_ < patience_ns) return;
      ++lost_;
    }
    ++next_;
    stuck_since_ns_ = 0;
  }
}

}  // namespace chaos::daemon
