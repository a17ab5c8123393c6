// recvmmsg and sendmmsg: each message goes the common road of its own.
#include <string.h>

#include "own.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {
namespace {

bool concerns_us(int fd, abi::class_set classes) {
  const rule_view* v = inside() ? nullptr : current_view();
  if (!v) return false;
  const descriptor* d = classify(fd, *v);
  return d && (d->head.load(std::memory_order_relaxed) & classes);
}

template <class One>
int each(unsigned n, mmsghdr* v, One one) {
  unsigned done = 0;
  for (; done < n; ++done) {
    const ssize_t r = one(done);
    if (r < 0) break;
    v[done].msg_len = static_cast<unsigned>(r);
  }
  return done || n == 0 ? static_cast<int>(done) : -1;
}

}  // namespace

void forget_received(const msghdr& m) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(const_cast<msghdr*>(&m), c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
      int fd;
      memcpy(&fd, reinterpret_cast<const char*>(c) + at, sizeof fd);
      forget(fd);
    }
  }
}

namespace {
int received_all(const mmsghdr* v, int n) {
  for (int i = 0; i < n; ++i) received(&v[i].msg_hdr, 0);
  return n;
}
}  // namespace

int own_recvmmsg(int fd, mmsghdr* v, unsigned n, int flags, timespec* timeout) {
  constexpr auto classes = abi::classes::stream_in | abi::classes::datagram_in;
  if (surely_unmatched(fd, classes) || !concerns_us(fd, classes)) return received_all(v, real.recvmmsg(fd, v, n, flags, timeout));
  const std::uint64_t deadline = timeout ? sys::now_ns() + static_cast<std::uint64_t>(timeout->tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(timeout->tv_nsec) : ~std::uint64_t{0};
  const void* caller = __builtin_return_address(0);
  return each(n, v, [&](unsigned i) -> ssize_t {
    if (i && sys::now_ns() >= deadline) { errno = EAGAIN; return -1; }
    int f = (flags & ~MSG_WAITFORONE) | (i && (flags & MSG_WAITFORONE) ? MSG_DONTWAIT : 0);
    msghdr* m = &v[i].msg_hdr;
    const call c{.fd = fd, .msg_in = &m, .flags = &f};
    return run_slowly<abi::fails::minus_one, ssize_t>(abi::function_id::recvmmsg, classes, c, caller, [&] { return received(m, real.recvmsg(fd, m, f)); });
  });
}

int own_sendmmsg(int fd, mmsghdr* v, unsigned n, int flags) {
  constexpr auto classes = abi::classes::stream_out | abi::classes::datagram_out;
  if (surely_unmatched(fd, classes) || !concerns_us(fd, classes)) return real.sendmmsg(fd, v, n, flags);
  const void* caller = __builtin_return_address(0);
  return each(n, v, [&](unsigned i) -> ssize_t {
    int f = flags;
    const msghdr* m = &v[i].msg_hdr;
    call c{.fd = fd, .msg_out = &m, .flags = &f};
    c.to = static_cast<const sockaddr*>(m->msg_name);
    c.to_len = m->msg_namelen;
    return run_slowly<abi::fails::minus_one, ssize_t>(abi::function_id::sendmmsg, classes, c, caller, [&] { return real.sendmsg(fd, m, f); });
  });
}

}  // namespace chaos::hooks
