#include "busy_word.hpp"

#include <errno.h>

#include "process.hpp"

namespace chaos {
namespace {

constexpr unsigned spins = 200;              // as long as most work takes
constexpr unsigned yields = 100;             // then the holder waits for a processor itself
constexpr unsigned naps = 10'000;            // and then it may be stopped, or of a lower priority
constexpr timespec nap = {0, 100'000};

}  // namespace

bool take_word(std::atomic<std::uint32_t>& word) {
  const auto me = static_cast<std::uint32_t>(cached_tid());
  for (unsigned i = 0; i < spins + yields + naps; ++i) {
    std::uint32_t holder = 0;
    if (word.compare_exchange_strong(holder, me, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    if (holder == me) return false;
    if (i < spins) { sys::pause(); continue; }
    if (i % 32 == 0 && sys::call(SYS_tgkill, sys::pid(), holder, 0) == -ESRCH) word.compare_exchange_strong(holder, 0, std::memory_order_relaxed);
    if (i < spins + yields) sys::call(SYS_sched_yield);
    else sys::call(SYS_nanosleep, &nap, nullptr);
  }
  return false;
}

}  // namespace chaos
