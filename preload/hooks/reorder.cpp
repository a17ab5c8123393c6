#include "reorder.hpp"

#include "buffers.hpp"
#include "preload/runtime/delay_line.hpp"
#include "preload/runtime/reorder.hpp"

namespace chaos::hooks {
namespace {

void give(frame& f, const overtaken_datagram& kept) {
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
}

// The one at the head, which stays there. Never waits: -EAGAIN when another thread has taken it.
long receive_and_keep(frame& f) {
  msghdr plain{};
  iovec one{f.c.in ? *f.c.in : nullptr, f.c.size ? *f.c.size : 0};
  msghdr* m = f.c.msg_in ? *f.c.msg_in : &plain;
  if (!f.c.msg_in) {
    plain.msg_iov = f.c.iov ? const_cast<iovec*>(*f.c.iov) : &one;
    plain.msg_iovlen = f.c.iov ? static_cast<std::size_t>(*f.c.iov_count) : 1;
    plain.msg_name = f.c.from;
    plain.msg_namelen = f.c.from && f.c.from_len ? *f.c.from_len : 0;
  }
  const long r = sys::call(SYS_recvmsg, f.c.fd, m, (f.c.flags ? *f.c.flags : 0) | MSG_PEEK | MSG_DONTWAIT);
  if (r >= 0 && !f.c.msg_in && f.c.from && f.c.from_len) *f.c.from_len = plain.msg_namelen;
  f.result = r;
  return r;
}

// How the call is to go that receive_and_keep() has made. False: as if it had not.
bool kept(frame& f, long r, road& way) {
  if (r == -EAGAIN) return false;
  way = r < 0 ? road::fail : road::done;
  if (r < 0) f.error = static_cast<int>(-r);
  return true;
}

// The entry is locked: several threads may receive on one socket. `mine`: to be given and dropped when it no longer is.
bool enter_locked(frame& f, delay_line& line, road& way, overtaken_datagram*& mine) {
  way = road::done;
  if (line.head_given && line.overtakers_left && datagram_behind_head(f.c.fd)) {
    if (f.peeks) return false;
    drop_head(f.c.fd);
    line.head_given = line.head_judged = false;
  }
  if (line.head_given || line.overtakers_left == 0) {  // its turn; what has passed it last goes with it
    if (f.peeks) {
      give(f, *line.overtaken);
      return true;
    }
    if (line.head_given) drop_head(f.c.fd);
    line.head_given = line.head_judged = false;
    mine = line.overtaken;
    line.overtaken = nullptr;
    return true;
  }
  if (f.peeks) return false;
  --line.overtakers_left;
  if (datagram_behind_head(f.c.fd)) return false;
  const long r = receive_and_keep(f);
  line.head_given = r >= 0;
  return kept(f, r, way);
}

}  // namespace

bool reorder_enter(frame& f, road& way, bool rule_is_gone) {
  if (!lock(*f.d)) return false;
  delay_line* const line = f.d->line.load(std::memory_order_acquire);  // unless it was closed, or given, meanwhile
  overtaken_datagram* mine = nullptr;
  bool takes_way = false;
  if (line && line->overtaken) {
    if (rule_is_gone) line->overtakers_left = 0;
    takes_way = enter_locked(f, *line, way, mine);
  }
  unlock(*f.d);
  if (mine) {
    give(f, *mine);
    drop_overtaken(mine);
  }
  return takes_way;
}

bool twice_enter(frame& f, road& way) {
  delay_line* line = f.d->line.load(std::memory_order_acquire);
  if (!line || !line->twice_owed || !lock(*f.d)) return false;
  line = f.d->line.load(std::memory_order_acquire);
  bool takes_way = false;
  if (line && line->twice_owed) {
    takes_way = kept(f, receive_and_keep(f), way);
    line->twice_owed -= takes_way;
  }
  unlock(*f.d);
  return takes_way;
}

}  // namespace chaos::hooks
