#include "reorder.hpp"

#include "buffers.hpp"
#include "preload/runtime/reorder.hpp"

namespace chaos::hooks {
namespace {

void give_overtaken(frame& f, delay_line& line, bool takes) {
  const overtaken_datagram& kept = *line.overtaken;
  const std::size_t part = scatter(buffers(f), kept.data, kept.length);
  const int asked = f.c.flags ? *f.c.flags : 0;
  if (f.c.from && f.c.from_len) {
    memcpy(f.c.from, &kept.from, *f.c.from_len < kept.from_length ? *f.c.from_len : kept.from_length);
    *f.c.from_len = kept.from_length;
  }
  if (f.c.msg_in) {
    msghdr& m = **f.c.msg_in;
    m.msg_flags = kept.flags | (part < kept.length ? MSG_TRUNC : 0);
    if (m.msg_name) memcpy(m.msg_name, &kept.from, m.msg_namelen < kept.from_length ? m.msg_namelen : kept.from_length);
    m.msg_namelen = m.msg_name ? kept.from_length : 0;
    if (kept.control_length <= m.msg_controllen) {
      if (kept.control_length) memcpy(m.msg_control, kept.control, kept.control_length);
      m.msg_controllen = kept.control_length;
    } else {
      m.msg_controllen = 0;
      m.msg_flags |= MSG_CTRUNC;
    }
  }
  f.result = static_cast<long>((asked & MSG_TRUNC) ? kept.length : part);
  if (!takes) return;
  drop_overtaken(line.overtaken);
  line.overtaken = nullptr;
}

}  // namespace

road receive_and_keep(frame& f) {
  msghdr plain{};
  iovec one{f.c.in ? *f.c.in : nullptr, f.c.size ? *f.c.size : 0};
  msghdr* m = f.c.msg_in ? *f.c.msg_in : &plain;
  if (!f.c.msg_in) {
    plain.msg_iov = f.c.iov ? const_cast<iovec*>(*f.c.iov) : &one;
    plain.msg_iovlen = f.c.iov ? static_cast<std::size_t>(*f.c.iov_count) : 1;
    plain.msg_name = f.c.from;
    plain.msg_namelen = f.c.from && f.c.from_len ? *f.c.from_len : 0;
  }
  const long r = sys::call(SYS_recvmsg, f.c.fd, m, (f.c.flags ? *f.c.flags : 0) | MSG_PEEK);
  if (r < 0) { f.error = static_cast<int>(-r); return road::fail; }
  if (!f.c.msg_in && f.c.from && f.c.from_len) *f.c.from_len = plain.msg_namelen;
  f.result = r;
  return road::done;
}

bool reorder_enter(frame& f, road& way) {
  delay_line& line = *f.d->line.load(std::memory_order_acquire);
  way = road::done;
  if (line.head_given && line.overtakers_left && datagram_behind_head(f.c.fd)) {
    if (f.peeks) return false;
    drop_head(f.c.fd);
    line.head_given = line.head_judged = false;
  }
  if (line.head_given || line.overtakers_left == 0) {  // its turn; what has passed it last goes with it
    const bool takes = !f.peeks;
    if (takes && line.head_given) drop_head(f.c.fd);
    give_overtaken(f, line, takes);
    if (takes) line.head_given = line.head_judged = false;
    return true;
  }
  if (f.peeks) return false;
  --line.overtakers_left;
  if (datagram_behind_head(f.c.fd)) return false;
  way = receive_and_keep(f);
  line.head_given = way == road::done;
  return true;
}

}  // namespace chaos::hooks
