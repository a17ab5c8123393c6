// System calls by number. io_uring can not be interposed: while rules about connections are in force a program that
// asks for it is told that the kernel has none, and falls back to calls that we see.
#include <sys/syscall.h>

#include "own.hpp"

namespace chaos::hooks {

long own_syscall(long number, long a, long b, long c, long d, long e, long f) {
  if (number == SYS_io_uring_setup) {
    const rule_view* v = current_view();
    if (report && self.attach_index) report->attached[self.attach_index - 1].limits.fetch_or(abi::attach_limits::io_uring, std::memory_order_relaxed);
    if (v && (v->classes & (abi::classes::data | abi::classes::connect | abi::classes::accept))) { errno = ENOSYS; return -1; }
  }
  return real.syscall(number, a, b, c, d, e, f);
}

}  // namespace chaos::hooks
