#include "moves.hpp"

namespace chaos::hooks {
namespace {

std::uint64_t total_of(const iovec* iov, std::size_t n) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < n && i < 1024; ++i) bytes += iov[i].iov_len;
  return bytes;
}

// The first `cap` bytes of a vector, in the frame's own. Legal: a short read or write.
int cut(frame& f, const iovec* iov, std::size_t n, std::uint64_t cap) {
  int used = 0;
  for (std::size_t i = 0; i < n && used < static_cast<int>(iov_max) && cap; ++i) {
    if (!iov[i].iov_len) continue;
    f.iov[used] = iov[i];
    if (f.iov[used].iov_len > cap) f.iov[used].iov_len = cap;
    cap -= f.iov[used++].iov_len;
  }
  return used;
}

}  // namespace

std::uint64_t bytes_in_vector(const call& c) {
  if (c.iov) return total_of(*c.iov, static_cast<std::size_t>(*c.iov_count > 0 ? *c.iov_count : 0));
  if (c.msg_in) return total_of((*c.msg_in)->msg_iov, (*c.msg_in)->msg_iovlen);
  if (c.msg_out) return total_of((*c.msg_out)->msg_iov, (*c.msg_out)->msg_iovlen);
  return 0;
}

void stand_in(frame& f, const msghdr* asked) {
  if (!f.asked_msg) {
    f.asked_msg = const_cast<msghdr*>(asked);
    f.msg = *asked;
  }
  if (f.c.msg_in) *f.c.msg_in = &f.msg;
  if (f.c.msg_out) *f.c.msg_out = &f.msg;
}

void limit_to(frame& f, std::uint64_t cap) {
  if (cap >= f.moves) return;
  f.capped = true;
  f.moves = cap;
  if (f.c.size) {
    *f.c.size = cap;
  } else if (f.c.iov) {
    *f.c.iov_count = cut(f, *f.c.iov, static_cast<std::size_t>(*f.c.iov_count), cap);
    *f.c.iov = f.iov;
  } else if (f.c.msg_in || f.c.msg_out) {
    const msghdr* m = f.c.msg_in ? *f.c.msg_in : *f.c.msg_out;
    const int n = cut(f, m->msg_iov, m->msg_iovlen, cap);
    stand_in(f, m);
    f.msg.msg_iov = f.iov;
    f.msg.msg_iovlen = static_cast<std::size_t>(n);
  }
}

}  // namespace chaos::hooks
