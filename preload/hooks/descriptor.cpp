// Descriptors that go in ranges, and questions about sockets whose answers a gate must agree with.
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "own.hpp"
#include "preload/runtime/delay_line.hpp"

namespace chaos::hooks {

int own_close_range(unsigned first, unsigned last, int flags) {
  constexpr int cloexec_only = 4;  // CLOSE_RANGE_CLOEXEC
  if (!(flags & cloexec_only)) forget_range(first, last);
  return real.close_range(first, last, flags);
}

void own_closefrom(int first) {
  forget_range(first > 0 ? static_cast<unsigned>(first) : 0, ~0u);
  real.closefrom(first);
}

int own_getsockopt(int fd, int level, int name, void* value, socklen_t* n) {
  const int result = real.getsockopt(fd, level, name, value, n);
  if (result == 0 && level == SOL_SOCKET && name == SO_RCVLOWAT && *n >= sizeof(int)) {
    const descriptor* d = entry_of(fd);
    const delay_line* l = d ? d->line.load(std::memory_order_acquire) : nullptr;
    if (l && l->threshold) *static_cast<int*>(value) = l->own_threshold > 0 ? l->own_threshold : 1;
  }
  return result;
}

int own_setsockopt(int fd, int level, int name, const void* value, socklen_t n) {
  if (level == SOL_SOCKET && name == SO_RCVLOWAT && n >= sizeof(int)) {
    descriptor* d = entry_of(fd);
    const delay_line* const seen = d ? d->line.load(std::memory_order_acquire) : nullptr;
    const int asked = *static_cast<const int*>(value);
    if (d) d->own_threshold = asked > 1 ? static_cast<std::uint32_t>(asked) : 1;
    if (seen && seen->threshold && lock(*d)) {
      delay_line* const l = d->line.load(std::memory_order_acquire);
      const bool ours = l && l->threshold;  // in force just now, for another thread that waits: the program's comes after it
      if (ours) l->own_threshold = asked;
      unlock(*d);
      if (ours) return 0;
    }
  }
  return real.setsockopt(fd, level, name, value, n);
}

int own_ioctl(int fd, unsigned long request, void* argument) {
  const int result = real.ioctl(fd, request, argument);
  if (result != 0 || request != FIONREAD || !argument || inside()) return result;
  const rule_view* v = current_view();
  descriptor* d = v ? classify(fd, *v) : nullptr;
  if (!d || !(d->role & abi::classes::streams) || !gates(*d, *v)) return result;
  inside_scope work;
  const int before = errno;
  const due q = look(*d, fd, *v, abi::function_id::ioctl, __builtin_return_address(0));
  if (q.gated && q.bytes < static_cast<std::uint64_t>(*static_cast<int*>(argument))) {
    *static_cast<int*>(argument) = static_cast<int>(q.bytes);
    refire(fd);  // who trusts edges (nginx) reads no more than that, and what comes due after it is to be told of
  }
  errno = before;
  work.end();
  return result;
}

}  // namespace chaos::hooks
