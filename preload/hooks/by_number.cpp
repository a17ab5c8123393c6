// System calls by number, as far as programs make calls that way which we stand in front of: libuv (node, uvloop, bind9) closes
// so, and takes and sends datagrams.
#include "own.hpp"

namespace chaos::hooks {

long own_syscall(long number, long a, long b, long c, long d, long e, long f) {
  const rule_view* const v = inside() ? nullptr : current_view();
  switch (v || number == SYS_io_uring_setup ? number : -1) {
    case SYS_io_uring_setup:  // can not be interposed: told that there is none, a program falls back to what we see
      if (report && self.attach_index) report->attached[self.attach_index - 1].limits.fetch_or(abi::attach_limits::io_uring, std::memory_order_relaxed);
      if (!v || !(v->classes & (abi::classes::data | abi::classes::connect | abi::classes::accept))) break;
      errno = ENOSYS;
      return -1;
    case SYS_recvmmsg:
      return own_recvmmsg(static_cast<int>(a), reinterpret_cast<mmsghdr*>(b), static_cast<unsigned>(c), static_cast<int>(d), reinterpret_cast<timespec*>(e));
    case SYS_sendmmsg:
      return own_sendmmsg(static_cast<int>(a), reinterpret_cast<mmsghdr*>(b), static_cast<unsigned>(c), static_cast<int>(d));
    case SYS_close: {
      const auto fd = static_cast<int>(a);
      return run_slowly<abi::fails::minus_one, long>(abi::function_id::close, abi::classes::close, call{.fd = fd}, __builtin_return_address(0),
                                                     [&] { return real.syscall(SYS_close, fd, 0, 0, 0, 0, 0); });
    }
    default: break;
  }
  return real.syscall(number, a, b, c, d, e, f);
}

}  // namespace chaos::hooks
