#include "moves.hpp"

namespace chaos::hooks {
namespace {

bool brings_descriptors(const msghdr& m) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(const_cast<msghdr*>(&m), c))
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) return true;
  return false;
}

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

bool writes(const frame& f) {
  using enum abi::function_id;
  switch (f.function) {
    case writev: case pwritev: case pwritev64: case pwritev2: case pwritev64v2: return true;
    default: return f.c.out || f.c.msg_out || f.c.end_of_transfer == transfer_end::sink || (f.c.stream && !f.c.in);
  }
}

std::uint64_t bytes_in_vector(const call& c) {
  if (c.iov) return total_of(*c.iov, static_cast<std::size_t>(*c.iov_count > 0 ? *c.iov_count : 0));
  if (c.msg_in) return total_of((*c.msg_in)->msg_iov, (*c.msg_in)->msg_iovlen);
  if (c.msg_out) return total_of((*c.msg_out)->msg_iov, (*c.msg_out)->msg_iovlen);
  return 0;
}

std::size_t skip(frame& f, const iovec* iov, std::size_t count, std::uint64_t n) {
  std::size_t used = 0;
  for (std::size_t i = 0; i < count && used < iov_max; ++i) {
    const iovec part = iov[i];
    if (n >= part.iov_len) { n -= part.iov_len; continue; }
    f.iov[used++] = {static_cast<char*>(part.iov_base) + n, part.iov_len - n};
    n = 0;
  }
  return used;
}

bool waits_for_all(const frame& f) {
  return (f.acts_as & cls::stream_in) && f.c.flags && (*f.c.flags & MSG_WAITALL) && ((f.c.in && f.c.size) || f.c.msg_in) && !f.peeks;
}

void go_on_behind(frame& f, std::uint64_t moved) {
  f.gathered += moved;
  f.once_more = moved == f.moves && f.gathered < f.wanted;  // less than it could take: the end, a signal, a time-out
  if (f.c.msg_in) {
    const msghdr& m = **f.c.msg_in;
    f.once_more = f.once_more && !(m.msg_flags & MSG_CTRUNC) && !brings_descriptors(m);  // there the kernel ends a receive too
    return;
  }
  *f.c.in = static_cast<char*>(*f.c.in) + moved;
  *f.c.size = f.wanted - f.gathered;
}

void continue_message(frame& f) {
  msghdr* const asked = *f.c.msg_in;
  stand_in(f, asked);
  f.msg.msg_iovlen = skip(f, asked->msg_iov, asked->msg_iovlen, f.gathered);
  f.msg.msg_iov = f.iov;
  f.msg.msg_controllen = f.asked_control;
  f.msg.msg_namelen = f.asked_name;
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
