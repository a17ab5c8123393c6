#include "thresholds.hpp"

#include "process.hpp"

namespace chaos::thresholds {
namespace {

constexpr unsigned near = 16;  // places where an inode may stand; beyond, it is not noted

template <class Visit>
void each_place(std::uint64_t inode, Visit visit) {
  const std::uint64_t first = core::mix(inode);
  for (unsigned i = 0; report && inode && i < near; ++i)
    if (visit(report->thresholds[(first + i) % abi::threshold_slots])) return;
}

}  // namespace

int note(std::uint64_t inode, int present) {
  int own = present;
  bool known = false;
  each_place(inode, [&](abi::threshold_slot& s) {
    if (s.inode.load(std::memory_order_acquire) != inode) return false;
    if (const int before = s.before.load(std::memory_order_relaxed)) own = before;
    return known = true;
  });
  if (known) return own;
  each_place(inode, [&](abi::threshold_slot& s) {
    std::uint64_t free = 0;
    if (!s.inode.compare_exchange_strong(free, inode, std::memory_order_acq_rel)) return false;
    s.before.store(present > 0 ? present : 1, std::memory_order_release);
    return true;
  });
  return own;
}

int take_back(std::uint64_t inode) {
  int before = 0;
  each_place(inode, [&](abi::threshold_slot& s) {
    if (s.inode.load(std::memory_order_acquire) != inode) return false;
    before = s.before.exchange(0, std::memory_order_acq_rel);
    std::uint64_t here = inode;
    s.inode.compare_exchange_strong(here, 0, std::memory_order_acq_rel);
    return true;
  });
  return before;
}

}  // namespace chaos::thresholds
