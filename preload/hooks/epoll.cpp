// epoll with descriptors whose input is not due.
//
// A hold lives only inside a wait: on the way out everything undue is lifted, the kernel tells the next waiter of it,
// and that one holds it again until the same due time. So a waiter that leaves early orphans nothing.
//
// A set inside another set, or among the descriptors of a poll, is not waited on itself: whoever waits on the outside has
// it hold what is not due (calm_set), so that it is not readable, and lets it go on the way out (release_set).
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>

#include "own.hpp"
#include "preload/runtime/accept_gate.hpp"
#include "preload/runtime/cancellation.hpp"
#include "preload/runtime/connection.hpp"
#include "preload/runtime/delay_line.hpp"
#include "preload/runtime/ending.hpp"
#include "preload/runtime/epoll_sets.hpp"
#include "preload/runtime/output_hold.hpp"
#include "preload/runtime/receive_threshold.hpp"
#include "preload/runtime/slice_gap.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {
namespace {

constexpr std::uint64_t never = ~std::uint64_t{0};
constexpr abi::class_set gated_classes = abi::classes::data | abi::classes::connect | abi::classes::accept;
constexpr std::uint32_t kept_when_disarmed = EPOLLONESHOT | EPOLLET | EPOLLWAKEUP;
// While a rule can end a connection, or let it go on, though nothing happens on it: another thread may put it into the set, or have it
// meet the rule, after the wait began. Where there is no other thread, all that can come is known when the wait begins.
constexpr std::uint64_t look_again_ns = 20'000'000;
bool looks_again(const rule_view& v) { return v.any_by_time && !single_threaded(); }
constexpr unsigned depth_max = 5;  // of sets within sets: the kernel's own bound
constexpr std::uint32_t input_bits = EPOLLIN | EPOLLRDNORM | EPOLLRDBAND | EPOLLPRI | EPOLLRDHUP;

bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  const timespec none{0, 0};
  return sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) > 0;
}

struct waiter {
  abi::function_id self;
  const void* caller;
  int epfd;
};

// What of this watch must not be seen now, and until when (0: all of it may).
struct hold {
  bool input = false;   // what arrives
  bool all = false;     // a connect that is not to be seen finished: nothing at all
  bool send = false;    // readiness to send (bandwidth)
  std::uint64_t until = 0;
  bool at_end = false;
  bool gone = false;    // a rule took the datagram that was there, and no other has come: nothing is held
  bool any() const { return input || all || send; }
  std::uint32_t hidden() const {
    return all ? ~std::uint32_t{0} : (input ? input_bits | EPOLLHUP | EPOLLERR : 0) | (send ? EPOLLOUT | EPOLLWRNORM : 0);
  }
};

hold held_back(const waiter& w, const watch& x, const rule_view& v) {
  hold h;
  descriptor* d = classify(x.fd, v);
  if (!d) return h;
  if (heal_redirect(*d, x.fd)) reclassify(x.fd);
  const std::uint64_t now = sys::now_ns();
  if (const std::uint64_t out = output_held_until(*d, now)) return {true, true, true, out, false};
  if (const std::uint64_t send = (x.events & (EPOLLOUT | EPOLLWRNORM)) ? send_held_until(*d, now) : 0) {
    h.send = true;
    h.until = send;
  }
  const due q = look(*d, x.fd, v, w.self, w.caller);
  if (q.undue() || q.blocked) {
    h.input = true;
    h.until = h.until && h.until < q.next_ns ? h.until : q.next_ns;
    const delay_line* line = d->line.load(std::memory_order_acquire);
    h.at_end = q.blocked || d->kind != descriptor_kind::tcp || d->listening || (line && line->end_seen);
  } else {
    h.gone = q.gated && !q.bytes && !q.end && (d->role & abi::classes::datagrams);
  }
  return h;
}

// Keeps the kernel quiet about a held watch.
void quieten(const waiter& w, watch& x, const hold& h, std::uint32_t happened) {
  descriptor* d = entry_of(x.fd);
  if (x.events & EPOLLONESHOT) { x.masked = true; return; }  // the kernel itself took it out with this event
  if (h.input && !h.all && !h.send && !h.at_end && d) {
    raise_threshold(*d, x.fd);
    pollfd p{x.fd, POLLIN, 0};
    const timespec none{0, 0};
    if (sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) == 0) return;
    restore_threshold(*d, x.fd);
  }
  const bool hung = happened & (EPOLLHUP | EPOLLERR);
  if (x.masked && (x.silent || !hung)) return;
  mask_watch(w.epfd, x, hung ? 0 : x.events & ~h.hidden());
}

void lift(const waiter& w, epoll_set& s, watch& x) {
  if (!x.held) return;
  x.held = false;
  --s.held;
  if (descriptor* d = entry_of(x.fd)) {
    restore_threshold(*d, x.fd);
    if (d->listening) tell_if_released(*d, x.fd, w.self, w.caller);
  }
  if (x.masked) unmask_watch(w.epfd, x);
}

void lift_all(const waiter& w, epoll_set& s) {
  for (unsigned i = 0; s.held && i < s.count; ++i) lift(w, s, s.watches[i]);
}

// Waits to the nanosecond: epoll_pwait2 (Linux 5.11; sandboxes older than that answer EPERM), or, without it, until the set itself
// is readable. A set that was emptied meanwhile by somebody else is a wait that ended early.
int wait_exactly(int epfd, epoll_event* events, int room, const timespec* rest, const sigset_t* mask) {
  static constinit std::atomic<bool> too_old{false};
  if (!too_old.load(std::memory_order_relaxed)) {
    const int n = real.epoll_pwait2(epfd, events, room, rest, mask);
    if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return n;
    too_old.store(true, std::memory_order_relaxed);
  }
  pollfd set{epfd, POLLIN, 0};
  const int n = real.ppoll(&set, 1, rest, mask);
  return n > 0 ? real.epoll_wait(epfd, events, room, 0) : n;
}

bool holds_set(int fd) {
  const descriptor* d = entry_of(fd);
  return d && chaos::holds_set(*d);
}

// How much the program has ever sent: what was acknowledged, and what is on its way. 0: no TCP connection.
std::uint64_t sent_bytes(const descriptor* d, int fd) {
  if (!d || d->kind != descriptor_kind::tcp) return 0;
  constexpr std::size_t acknowledged_at = 120;  // tcpi_bytes_acked (Linux 4.1), which libc's tcp_info does not have
  alignas(8) unsigned char info[acknowledged_at + 8];
  socklen_t n = sizeof info;
  std::uint64_t acknowledged = 0;
  int queued = 0;
  if (sys::get_option(fd, IPPROTO_TCP, TCP_INFO, info, &n) != 0 || n < sizeof info) return 0;
  memcpy(&acknowledged, info + acknowledged_at, sizeof acknowledged);
  sys::control(fd, SIOCOUTQ, &queued);
  return acknowledged + static_cast<std::uint64_t>(queued);
}

// A held watch that trusts edges, of which only the readiness to send is to be seen. Every wait that ends makes an edge anew,
// as its hold is lifted then: told of each, a program that waits again and again would spin until the input is due. Nothing
// was sent since it was told, so it knows; in case that it was told no meanwhile, it is told again after a slice.
bool knows_it_may_send(watch& x, std::uint32_t shown) {
  if (!(x.events & EPOLLET) || (x.events & EPOLLONESHOT) || (shown & ~(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND))) return false;
  const std::uint64_t now = sys::now_ns(), sent = sent_bytes(entry_of(x.fd), x.fd);
  if (x.told_out_ns && now < x.told_out_ns + slice_ns && sent == x.told_out_bytes) {
    x.tell_out_again_ns = x.told_out_ns + slice_ns;
    return true;
  }
  x.told_out_ns = now;
  x.told_out_bytes = sent;
  x.tell_out_again_ns = 0;
  return false;
}

// Is there anything in the set that could be held back at all?
bool needs_care(epoll_set& s, const rule_view& v, unsigned depth) {
  if (s.held) return true;
  for (unsigned i = 0; i < s.count; ++i) {
    const descriptor* d = classify(s.watches[i].fd, v);
    if (d && (chaos::holds_set(*d) ? depth < depth_max && set_needs_care(s.watches[i].fd, v, depth + 1) : gates_any(*d, v))) return true;
  }
  return false;
}

// One watch of a set that nobody waits on: silent while it is held.
void calm(const waiter& w, epoll_set& s, watch& x, const hold& h) {
  if (!x.held) { x.held = true; ++s.held; }
  x.due_ns = h.until;
  if (x.masked) return;
  pollfd p{x.fd, static_cast<short>(x.events & (input_bits | EPOLLOUT)), 0};
  const timespec none{0, 0};
  sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8);
  descriptor* d = entry_of(x.fd);
  if (h.input && !h.all && !h.send && !h.at_end && d) {
    raise_threshold(*d, x.fd);
    pollfd quiet{x.fd, POLLIN, 0};
    if (sys::call(SYS_ppoll, &quiet, 1, &none, nullptr, 8) == 0) return;
    restore_threshold(*d, x.fd);
  }
  const std::uint32_t shown = x.events & ~h.hidden() & (EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
  if (!shown || (p.revents & (POLLHUP | POLLERR))) withdraw_watch(w.epfd, x);
  else mask_watch(w.epfd, x, x.events & ~h.hidden());
}

int wait_gated(const waiter& w, epoll_event* events, int room, std::uint64_t deadline, const sigset_t* mask, epoll_set& s, const rule_view*& v) {
  // `s` is locked here, and unlocked around every wait.
  const auto leave = [&] {
    lift_all(w, s);
    for (unsigned i = 0; i < s.count; ++i)
      if (holds_set(s.watches[i].fd)) release_set(w.self, w.caller, s.watches[i].fd);
  };
  bool spun = false;
  for (;;) {
    if (!is_current(s, *v)) {
      leave();  // and what the kernel shows is what the program wants
      reload_set(s, w.epfd, *v);
    }
    std::uint64_t now = sys::now_ns(), due = never;
    bool slices = false, nested = false;
    for (unsigned i = 0; i < s.count; ++i) {
      watch& x = s.watches[i];
      const descriptor* d = entry_of(x.fd);
      if (d && chaos::holds_set(*d)) {
        nested = true;  // when what is in it ends is not known here
        const std::uint64_t inner = calm_set(w.self, w.caller, x.fd, *v);
        if (inner != never) slices = true;
        if (inner < due) due = inner;
        continue;
      }
      if (d && v->any_by_time)
        if (const std::uint64_t end = follow_end(const_cast<descriptor&>(*d), x.fd, *v, w.self, w.caller); end && end < due) due = end;
      const bool waiting_connect = d && (d->redirected.load(std::memory_order_relaxed) || d->connect_due_ns.load(std::memory_order_relaxed) ||
                                         d->send_due_ns.load(std::memory_order_relaxed) || has_gap(d->gap_out) || black_holed(*d));
      if (!x.held && !waiting_connect) continue;
      const hold h = held_back(w, x, *v);
      slices = true;
      if (h.any() && x.tell_out_again_ns && now >= x.tell_out_again_ns) {
        x.tell_out_again_ns = 0;
        lift(w, s, x);  // makes an edge
      } else if (h.any()) {
        if (x.tell_out_again_ns && x.tell_out_again_ns < due) due = x.tell_out_again_ns;
        if (!x.held) { x.held = true; ++s.held; }
        x.due_ns = h.until;
        if ((h.all || h.send) && !x.masked) mask_watch(w.epfd, x, x.events & ~h.hidden());
        else if (!x.masked && !h.at_end && d) raise_threshold(const_cast<descriptor&>(*d), x.fd);
        due = h.until < due ? h.until : due;
      } else {
        lift(w, s, x);  // due: the kernel tells of it at once
      }
    }
    const std::uint64_t next = due < deadline ? due : deadline;
    std::uint64_t rest = next == never ? never : next > now ? next - now : 0;
    const bool at_due = due < deadline && rest <= slice_ns;
    if ((looks_again(*v) || (v->any_by_time && nested)) && rest > look_again_ns) rest = look_again_ns;
    if (slices && rest > slice_ns) rest = slice_ns;
    const timespec t = sys::span(rest == never ? 0 : rest);
    unlock_set(s);
    precise_timer precise(slices);
    const auto ask = [&](const timespec* how_long) { return wait_exactly(w.epfd, events, room, how_long, mask); };
    const int n = wait_cancellable([&] { return slices && at_due ? wait_until_due(due, spun, ask) : ask(rest == never ? nullptr : &t); },
                                   [&] {
                                     if (!relock_set(s)) return;
                                     leave();
                                     unlock_set(s);
                                   });
    const int error = errno;
    precise.restore();
    heal_held();  // not while this set is held: it looks into others
    if (!relock_set(s)) { errno = error; return n; }
    v = current_view();
    if (n < 0 || !v) {
      leave();
      unlock_set(s);
      if (!v) heal_held();
      if (n == 0 && (deadline == never || sys::now_ns() < deadline)) return -2;  // the rules went away: wait on plainly
      errno = error;
      return n;
    }
    int kept = 0;
    for (int i = 0; i < n; ++i) {
      epoll_event e = events[i];
      watch* x = find_watch(s, e.data.u64);
      if (x && holds_set(x->fd)) {
        calm_set(w.self, w.caller, x->fd, *v);
        if (!readable(x->fd)) continue;
      } else if (x && is_set_of(s, w.epfd)) {
        const hold h = held_back(w, *x, *v);
        if (h.any()) {
          if (!x->held) { x->held = true; ++s.held; }
          x->due_ns = h.until;
          quieten(w, *x, h, e.events);
          e.events &= ~h.hidden();
          if (!e.events || knows_it_may_send(*x, e.events)) continue;
        } else if (h.gone) {
          e.events &= ~input_bits;
          if (!e.events) {
            if (x->events & EPOLLONESHOT) unmask_watch(w.epfd, *x);  // the kernel took it out for nothing
            continue;
          }
        }
      }
      if (x && (x->events & EPOLLONESHOT)) x->events &= kept_when_disarmed;  // as the kernel did
      events[kept++] = e;
    }
    now = sys::now_ns();
    if (kept > 0 || (deadline != never && now >= deadline)) {
      leave();
      unlock_set(s);
      return kept;
    }
  }
}

// `plain`: nothing stands in the way of the kernel's own wait, until `deadline` if there has been one already (else 0).
int wait(abi::function_id self, const void* caller, int fd, epoll_event* events, int room, const timespec* timeout, const sigset_t* mask, bool& plain, std::uint64_t& deadline) {
  plain = true;
  deadline = 0;
  if (inside() || room <= 0) return 0;
  const int before = errno;
  for (;;) {
    heal_held();
    const rule_view* v = current_view();
    errno = before;
    if (!v || !(v->classes & gated_classes)) return 0;
    epoll_set* s = lock_set(fd, *v, looks_again(*v));
    if (s && !looks_again(*v) && !needs_care(*s, *v, 0)) {
      unlock_set(*s);
      s = nullptr;
    }
    errno = before;
    if (!s) return 0;
    if (!deadline)
      deadline = timeout ? sys::now_ns() + static_cast<std::uint64_t>(timeout->tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(timeout->tv_nsec) : never;
    const int n = wait_gated({self, caller, fd}, events, room, deadline, mask, *s, v);
    if (n == -2) continue;
    plain = false;
    return n;
  }
}

// What is left of a time-out, in milliseconds that are not too few.
int left_ms(std::uint64_t deadline) {
  const std::uint64_t now = sys::now_ns();
  return deadline > now ? static_cast<int>((deadline - now + 999'999) / 1'000'000) : 0;
}

}  // namespace

bool set_needs_care(int epfd, const rule_view& v, unsigned depth) {
  epoll_set* s = lock_set(epfd, v);
  if (!s) return false;
  const bool cares = needs_care(*s, v, depth);
  unlock_set(*s);
  return cares;
}

std::uint64_t calm_set(abi::function_id self, const void* caller, int epfd, const rule_view& v, unsigned depth) {
  epoll_set* s = lock_set(epfd, v);
  if (!s) return never;
  const waiter w{self, caller, epfd};
  std::uint64_t next = never;
  for (unsigned i = 0; i < s->count; ++i) {
    watch& x = s->watches[i];
    if (holds_set(x.fd)) {
      const std::uint64_t inner = depth < depth_max ? calm_set(self, caller, x.fd, v, depth + 1) : never;
      next = inner < next ? inner : next;
      continue;
    }
    if (!(x.events & ~kept_when_disarmed) && (x.events & EPOLLONESHOT)) continue;  // disarmed
    if (const hold h = held_back(w, x, v); h.any()) {
      calm(w, *s, x, h);
      next = h.until < next ? h.until : next;
    } else {
      lift(w, *s, x);
    }
  }
  unlock_set(*s);
  return next;
}

void release_set(abi::function_id self, const void* caller, int epfd, unsigned depth) {
  epoll_set* s = lock_loaded(epfd);
  if (!s) return;
  lift_all({self, caller, epfd}, *s);
  for (unsigned i = 0; i < s->count; ++i)
    if (depth < depth_max && holds_set(s->watches[i].fd)) release_set(self, caller, s->watches[i].fd, depth + 1);
  unlock_set(*s);
}

int own_epoll_wait(abi::function_id self, int fd, epoll_event* events, int room, int timeout, const sigset_t* mask) {
  const timespec t = sys::span(timeout > 0 ? static_cast<std::uint64_t>(timeout) * 1'000'000 : 0);
  bool plain;
  std::uint64_t deadline;
  const int n = wait(self, __builtin_return_address(0), fd, events, room, timeout < 0 ? nullptr : &t, mask, plain, deadline);
  if (!plain) return n;
  if (deadline && timeout > 0) timeout = left_ms(deadline);
  return mask ? real.epoll_pwait(fd, events, room, timeout, mask) : real.epoll_wait(fd, events, room, timeout);
}

int own_epoll_pwait2(abi::function_id self, int fd, epoll_event* events, int room, const timespec* timeout, const sigset_t* mask) {
  bool plain;
  std::uint64_t deadline;
  const int n = wait(self, __builtin_return_address(0), fd, events, room, timeout, mask, plain, deadline);
  if (!plain) return n;
  timespec left;
  if (deadline && timeout) {
    const std::uint64_t now = sys::now_ns();
    left = sys::span(deadline > now ? deadline - now : 0);
    timeout = &left;
  }
  return real.epoll_pwait2(fd, events, room, timeout, mask);
}

int own_epoll_ctl(int fd, int op, int target, epoll_event* event) {
  if (op != EPOLL_CTL_ADD && !inside()) put_back_absent(fd, target);
  const int before = errno;
  const rule_view* v = inside() ? nullptr : current_view();
  errno = before;
  if (!v || !(v->classes & gated_classes)) return real.epoll_ctl(fd, op, target, event);
  return followed_ctl(fd, op, target, event, *v);
}

void refire(int fd) {
  const bool known = for_each_watch(fd, [](int epfd, watch& w) {
    if (repeats_edges(w)) unmask_watch(epfd, w);
  });
  if (known) return;
  if (descriptor* const d = entry_of(fd)) d->edge_owed.store(true, std::memory_order_release);
}

}  // namespace chaos::hooks
