#include "reorder.hpp"

namespace chaos {

bool datagram_behind_head(int fd) {
  int own = -1;
  socklen_t n = sizeof own;
  // A peek at the offset where the head ends sees the next one. A program with a peek offset of its own keeps it.
  if (sys::get_option(fd, SOL_SOCKET, SO_PEEK_OFF, &own, &n) != 0 || own >= 0) return false;
  char nothing;
  const long bytes = sys::call(SYS_recvfrom, fd, &nothing, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT, nullptr, nullptr);
  if (bytes <= 0 || sys::set_option(fd, SOL_SOCKET, SO_PEEK_OFF, static_cast<int>(bytes)) != 0) return false;
  const long r = sys::call(SYS_recvfrom, fd, &nothing, 0, MSG_PEEK | MSG_DONTWAIT, nullptr, nullptr);
  sys::set_option(fd, SOL_SOCKET, SO_PEEK_OFF, -1);
  return r >= 0;
}

overtaken_datagram* take_head(const descriptor& d, int fd) {
  char nothing;
  iovec part{&nothing, 0};
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  if (d.kind != descriptor_kind::udp && (sys::call(SYS_recvmsg, fd, &m, MSG_PEEK | MSG_DONTWAIT) < 0 || (m.msg_flags & MSG_CTRUNC))) return nullptr;
  auto* kept = static_cast<overtaken_datagram*>(sys::pages(sizeof(overtaken_datagram)));
  if (!kept) return nullptr;
  part = {kept->data, sizeof kept->data};
  m.msg_name = &kept->from;
  m.msg_namelen = sizeof kept->from;
  m.msg_control = kept->control;
  m.msg_controllen = sizeof kept->control;
  const long r = sys::call(SYS_recvmsg, fd, &m, MSG_DONTWAIT);
  if (r < 0) { drop_overtaken(kept); return nullptr; }
  kept->length = static_cast<std::size_t>(r);
  kept->from_length = m.msg_namelen;
  kept->control_length = m.msg_controllen;
  kept->flags = m.msg_flags & MSG_CTRUNC;
  return kept;
}

void drop_head(int fd) {
  char nothing;
  sys::call(SYS_recvfrom, fd, &nothing, 0, MSG_DONTWAIT, nullptr, nullptr);
}

void drop_overtaken(overtaken_datagram* datagram) { sys::unmap(datagram, sizeof *datagram); }

}  // namespace chaos
