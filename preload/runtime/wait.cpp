#include "wait.hpp"

#include <errno.h>
#include <limits.h>
#include <sys/prctl.h>

#include "process.hpp"

namespace chaos {

extern void (*test_cancel)();

precise_timer::precise_timer(bool wanted) : slack_(wanted ? sys::call(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0) : 0) {
  if (slack_ > 1) sys::call(SYS_prctl, PR_SET_TIMERSLACK, 1, 0, 0, 0);
}
void precise_timer::restore() {
  if (slack_ > 1) sys::call(SYS_prctl, PR_SET_TIMERSLACK, slack_, 0, 0, 0);
}

void spin_until(std::uint64_t due_ns) {
  while (sys::now_ns() < due_ns) sys::pause();
}

bool restarts_after_signal() {
  struct { void (*handler)(int); unsigned long flags; void (*restorer)(); unsigned long mask; } action;
  for (int signal = 1; signal < 65; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    if (sys::call(SYS_rt_sigaction, signal, nullptr, &action, 8) != 0) continue;
    if (action.handler != SIG_DFL && action.handler != SIG_IGN && !(action.flags & SA_RESTART)) return false;
  }
  return true;
}

namespace {

// `due_at(now, lifted)`: until when, as the rules of now have it.
template <class Due>
waited hold(bool to_the_point, Due due_at) {
  precise_timer precise(to_the_point);
  const std::uint64_t spun = to_the_point ? spin_ns : 0;
  waited result = waited::due;
  for (;;) {
    const std::uint64_t now = sys::now_ns();
    const std::uint32_t generation = page_generation();
    bool lifted = false;
    const std::uint64_t due_ns = due_at(now, lifted);
    result = lifted ? waited::lifted : waited::due;
    if (now >= due_ns) break;
    if (due_ns - now <= spun) { spin_until(due_ns); break; }
    const std::uint64_t lease = page->lease_until_ns.load(std::memory_order_relaxed);
    const std::uint64_t until = due_ns - spun < lease ? due_ns - spun : lease;
    const timespec at = sys::span(until);
    // Absolute time; works on a read-only shared mapping; woken by whoever publishes rules.
    const long r = sys::call(SYS_futex, &page->generation, FUTEX_WAIT_BITSET, generation, &at, nullptr, FUTEX_BITSET_MATCH_ANY);
    if (r == -EINTR) {
      if (test_cancel) test_cancel();
      if (!restarts_after_signal()) { result = waited::interrupted; break; }
    }
    if (r == -ENOSYS || r == -EPERM || r == -EACCES) {  // a sandbox without futex: the plain way
      const timespec rest = sys::span(until - now);
      sys::call(SYS_nanosleep, &rest, nullptr);
    }
  }
  precise.restore();
  return result;
}

}  // namespace

waited hold_until(std::uint64_t due_ns, std::uint32_t rule_id, bool to_the_point) {
  return hold(to_the_point, [&](std::uint64_t now, bool& lifted) {
    if (now >= due_ns) return due_ns;
    lifted = rule_id ? !rule_in_force(rule_id, now) : !lease_holds(now);
    return lifted ? 0 : due_ns;
  });
}

waited hold_for(std::uint64_t from_ns, const shares& held, std::uint64_t until_ns) {
  const std::uint64_t all = from_ns + held.total(), latest = all < until_ns ? all : until_ns;
  shares left = held;
  return hold(true, [&](std::uint64_t now, bool& lifted) {
    if (now >= latest) return latest;
    left.drop_ended(now);
    const std::uint64_t due = from_ns + left.total();
    lifted = due < latest;
    return lifted ? due : latest;
  });
}

}  // namespace chaos
