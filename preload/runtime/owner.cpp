#include "owner.hpp"

#include <linux/membarrier.h>

namespace chaos {
namespace {

bool registered() {
  if (!rseq_registered) return false;
  static constinit std::atomic<int> state{0};  // 1: registered, -1: the kernel has none
  int s = state.load(std::memory_order_relaxed);
  if (!s) {
    s = sys::call(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0 ? 1 : -1;
    state.store(s, std::memory_order_relaxed);
  }
  return s > 0;
}

}  // namespace

void prepare_owners() { registered(); }

void change_owner(descriptor& d) {
  std::int32_t owner = d.owner.load(std::memory_order_relaxed);
  const std::int32_t me = cached_tid();
  if (owner == me || owner == shared_by_threads) return;
  if (!owner) {
    if (d.owner.compare_exchange_strong(owner, registered() ? me : shared_by_threads, std::memory_order_relaxed) || owner == shared_by_threads) return;
  }
  d.owner.store(shared_by_threads, std::memory_order_seq_cst);
  sys::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0);  // from here on the owner sees that it is none
}

}  // namespace chaos
