// poll and select with descriptors whose input is not due: they are left out, or kept quiet by their threshold, and the
// wait is shortened so that it returns on time. Never a sleep for anybody else.
#include <string.h>

#include "own.hpp"
#include "preload/runtime/accept_gate.hpp"
#include "preload/runtime/cancellation.hpp"
#include "preload/runtime/connection.hpp"
#include "preload/runtime/delay_line.hpp"
#include "preload/runtime/ending.hpp"
#include "preload/runtime/epoll_sets.hpp"
#include "preload/runtime/output_hold.hpp"
#include "preload/runtime/receive_threshold.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {
namespace {

constexpr std::uint64_t never = ~std::uint64_t{0};
constexpr short input_bits = POLLIN | POLLRDNORM | POLLRDBAND | POLLPRI | POLLRDHUP;
struct gated { descriptor* d; int fd; unsigned index; short hidden; bool held; };

// The gated descriptors of one call: a few stand on the stack, many on pages of their own. To be freed by hand.
struct gate_list {
  static constexpr unsigned few = 64;
  unsigned count = 0, room = few;
  gated* entry = some;
  gated some[few];

  bool add(const gated& g) {
    if (count == room && !grow()) return false;
    entry[count++] = g;
    return true;
  }
  void free() {
    if (entry != some) sys::unmap(entry, room * sizeof(gated));
  }

 private:
  bool grow() {
    auto* const more = static_cast<gated*>(sys::pages(4 * room * sizeof(gated)));
    if (!more) return false;
    memcpy(more, entry, count * sizeof(gated));
    free();
    entry = more;
    room *= 4;
    return true;
  }
};

descriptor* if_gated(const rule_view& v, int fd) {
  if (fd < 0 || surely_unmatched(fd, abi::classes::readiness)) return nullptr;
  descriptor* d = classify(fd, v);
  if (!d || !(d->head.load(std::memory_order_relaxed) & abi::classes::readiness)) return nullptr;
  return (holds_set(*d) ? set_needs_care(fd, v) : gates_any(*d, v)) ? d : nullptr;
}

void add_if_gated(gate_list& list, const rule_view& v, int fd, unsigned index) {
  if (descriptor* const d = if_gated(v, fd)) list.add({d, fd, index, 0, false});
}

// What was left out of the program's array for a wait.
void put_back(const gated& g, pollfd& p) {
  if (p.fd < 0 && ~p.fd == g.fd) { p.fd = g.fd; p.revents = 0; }
  else if (g.hidden && g.held) p.events |= g.hidden;
}

// Which of the wanted events must not be seen now. Sets `next` to when that changes; quietens what it can.
short hold(gated& g, const rule_view& v, abi::function_id self, const void* caller, short wanted, std::uint64_t now, std::uint64_t& next) {
  g.held = false;
  if (holds_set(*g.d)) {  // it keeps the kernel quiet itself
    const std::uint64_t inner = calm_set(self, caller, g.fd, v);
    g.held = inner != never;
    next = inner < next ? inner : next;
    return 0;
  }
  if (const std::uint64_t end = follow_end(*g.d, g.fd, v, self, caller)) next = end < next ? end : next;
  if (!holds(*g.d)) return 0;  // what has arrived unseen is looked at when the kernel tells of it
  if (heal_redirect(*g.d, g.fd)) reclassify(g.fd);
  if (g.d->redirected.load(std::memory_order_relaxed)) next = next < now + slice_ns ? next : now + slice_ns;
  const std::uint64_t out = output_held_until(*g.d, now);
  if (out) {
    next = out < next ? out : next;
    g.held = true;
    return wanted;
  }
  short hidden = 0;
  if (const std::uint64_t send = (wanted & POLLOUT) ? send_held_until(*g.d, now) : 0) {
    next = send < next ? send : next;
    g.held = true;
    hidden = wanted & (POLLOUT | POLLWRNORM);
  }
  if (!(wanted & input_bits)) return hidden;
  const due q = look(*g.d, g.fd, v, self, caller);
  if (!q.undue() && !q.blocked) return hidden;
  g.held = true;
  next = q.next_ns < next ? q.next_ns : next;
  return hidden | (wanted & input_bits);
}

// A held descriptor that the kernel would report at once (its end has come, it is no TCP socket) must be left out.
bool noisy(const gated& g, short wanted) {
  pollfd p{g.fd, wanted, 0};
  const timespec none{0, 0};
  return sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) > 0;
}

// After the kernel said that something is there: is it to be seen?
short visible(gated& g, const rule_view& v, abi::function_id self, const void* caller, short happened) {
  const std::uint64_t now = sys::now_ns();
  if (holds_set(*g.d)) {
    calm_set(self, caller, g.fd, v);
    return noisy(g, happened) ? happened : 0;
  }
  if (output_held_until(*g.d, now)) return 0;
  if (send_held_until(*g.d, now)) happened &= ~(POLLOUT | POLLWRNORM);
  if (!(happened & (input_bits | POLLHUP | POLLERR))) return happened;
  const due q = look(*g.d, g.fd, v, self, caller);
  const bool lost = q.gated && !q.bytes && !q.end && (g.d->role & abi::classes::datagrams);  // it was there, and a rule took it
  return q.undue() || q.blocked || lost ? happened & ~(input_bits | POLLHUP | POLLERR) : happened;
}

// What sets of epoll held for this wait only.
void release_sets(const gate_list& list, abi::function_id self, const void* caller) {
  for (unsigned i = 0; i < list.count; ++i)
    if (holds_set(*list.entry[i].d)) release_set(self, caller, list.entry[i].fd);
}

void lower_thresholds(const gate_list& list, abi::function_id self, const void* caller) {
  for (unsigned i = 0; i < list.count; ++i) {
    const gated& g = list.entry[i];
    if (!g.held) continue;
    restore_threshold(*g.d, g.fd);
    if (g.d->listening) tell_if_released(*g.d, g.fd, self, caller);
  }
}

// One wait of the kernel's, with the quiet descriptors' thresholds up for its duration. Cancelled in it, what tidy() knows is put back.
template <class Wait, class Tidy>
int wait_quietly(gate_list& list, abi::function_id self, const void* caller, bool any_held, std::uint64_t due, std::uint64_t deadline, std::uint64_t now, bool& spun, Wait wait, Tidy tidy) {
  const std::uint64_t until = due < deadline ? due : deadline;
  std::uint64_t rest = until == never ? never : until > now ? until - now : 0;
  const bool at_due = any_held && due < deadline && rest <= slice_ns;
  if (any_held && rest > slice_ns) rest = slice_ns;
  const timespec t = sys::span(rest == never ? 0 : rest);
  const auto undo = [&] {
    lower_thresholds(list, self, caller);
    release_sets(list, self, caller);
    tidy();
    list.free();
  };
  if (!any_held) return wait_cancellable([&] { return wait(rest == never ? nullptr : &t); }, undo);
  for (unsigned i = 0; i < list.count; ++i)
    if (list.entry[i].held) raise_threshold(*list.entry[i].d, list.entry[i].fd);
  precise_timer precise;
  const int r = wait_cancellable([&] { return at_due ? wait_until_due(due, spun, wait) : wait(&t); }, undo);
  const int error = errno;
  precise.restore();
  lower_thresholds(list, self, caller);
  errno = error;
  return r;
}

std::uint64_t deadline_from(const timespec* t) {
  if (!t) return never;
  return sys::now_ns() + static_cast<std::uint64_t>(t->tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t->tv_nsec);
}

int gated_poll(abi::function_id self, const void* caller, pollfd* fds, nfds_t n, const timespec* timeout, const sigset_t* mask) {
  const std::uint64_t deadline = deadline_from(timeout);
  gate_list list;
  bool spun = false;
  for (;;) {
    heal_held();
    const rule_view* v = current_view();
    list.count = 0;
    for (nfds_t i = 0; v && i < n; ++i) add_if_gated(list, *v, fds[i].fd, static_cast<unsigned>(i));
    const std::uint64_t now = sys::now_ns();
    std::uint64_t next = never;
    bool any_held = false;
    for (unsigned i = 0; i < list.count; ++i) {
      gated& g = list.entry[i];
      pollfd& p = fds[g.index];
      g.hidden = hold(g, *v, self, caller, p.events, now, next);
      any_held |= g.held || g.d->redirected.load(std::memory_order_relaxed);
    }
    // Thresholds first, so that a quiet descriptor can stay in the set and tell of the next arrival.
    for (unsigned i = 0; i < list.count; ++i) {
      gated& g = list.entry[i];
      if (!g.held) continue;
      raise_threshold(*g.d, g.fd);
      pollfd& p = fds[g.index];
      if (g.hidden == p.events && g.hidden && noisy(g, p.events)) p.fd = ~p.fd;           // wholly left out
      else if (g.hidden && g.hidden != p.events && noisy(g, g.hidden)) p.events &= ~g.hidden;
      else g.hidden = 0;
    }
    const int r = wait_quietly(list, self, caller, any_held, next, deadline, now, spun, [&](const timespec* t) { return real.ppoll(fds, n, t, mask); },
                               [&] { for (unsigned i = 0; i < list.count; ++i) put_back(list.entry[i], fds[list.entry[i].index]); });
    const int error = errno;
    int seen = r;
    for (unsigned i = 0; i < list.count; ++i) {
      gated& g = list.entry[i];
      pollfd& p = fds[g.index];
      put_back(g, p);
      if (r > 0 && p.revents) {
        const rule_view* fresh = current_view();
        p.revents = fresh ? visible(g, *fresh, self, caller, p.revents) : p.revents;
        if (!p.revents) --seen;
      }
    }
    release_sets(list, self, caller);
    const bool over = r < 0 || seen > 0 || (deadline != never && sys::now_ns() >= deadline);
    if (over) list.free();
    errno = error;
    if (over) return r < 0 ? r : seen > 0 ? seen : 0;
  }
}

bool any_gated(const pollfd* fds, nfds_t n) {
  if (inside()) return false;
  heal_held();
  const rule_view* v = current_view();
  if (!v) return false;
  for (nfds_t i = 0; i < n; ++i)
    if (if_gated(*v, fds[i].fd)) return true;
  return false;
}

bool gates_exist(const fd_set* set, int n, const rule_view& v) {
  for (int fd = 0; set && fd < n; ++fd)
    if (FD_ISSET(fd, set) && if_gated(v, fd)) return true;
  return false;
}

// Copies of a program's three sets. One has room for as many descriptors as the call says, in words as the kernel counts them; what
// stands behind is not the program's own. A few stand on the stack, more on pages of their own. To be freed by hand.
struct set_copies {
  fd_set few[3];
  fd_set *in = &few[0], *out = &few[1], *except = &few[2];
  std::size_t bytes, mapped = 0;

  bool make(int n) {
    bytes = static_cast<std::size_t>(n + NFDBITS - 1) / NFDBITS * sizeof(fd_mask);
    if (bytes <= sizeof(fd_set)) return true;
    auto* const pages = static_cast<char*>(sys::pages(3 * bytes));
    if (!pages) return false;
    mapped = 3 * bytes;
    in = reinterpret_cast<fd_set*>(pages);
    out = reinterpret_cast<fd_set*>(pages + bytes);
    except = reinterpret_cast<fd_set*>(pages + 2 * bytes);
    return true;
  }
  void take(fd_set* to, const fd_set* from) const {
    if (from) memcpy(to, from, bytes);
    else memset(to, 0, bytes);
  }
  void give(fd_set* to, const fd_set* from) const {
    if (!to) return;
    if (from) memcpy(to, from, bytes);
    else memset(to, 0, bytes);
  }
  void free() {
    if (mapped) sys::unmap(in, mapped);
  }
};

// How many descriptors the kernel looks at: of a call that says more, as many as the process has room for by now. What stands in the
// program's sets beyond them may be no memory at all. 0: nobody knows.
int looked_at(int n) {
  if (n <= FD_SETSIZE) return n;
  const int status = sys::open_file("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (status < 0) return 0;
  char text[1024];
  const long got = sys::read_from(status, text, sizeof text - 1);
  sys::close_fd(status);
  if (got <= 0) return 0;
  text[got] = 0;
  const char* p = strstr(text, "\nFDSize:");
  if (!p) return 0;
  int room = 0;
  for (p += sizeof "\nFDSize:" - 1; *p == ' ' || *p == '\t'; ++p) {}
  for (; *p >= '0' && *p <= '9'; ++p) room = room * 10 + (*p - '0');
  return n < room ? n : room;
}

int gated_select(abi::function_id self, const void* caller, int n, fd_set* in, fd_set* out, fd_set* except, const timespec* timeout, const sigset_t* mask) {
  const std::uint64_t deadline = deadline_from(timeout);
  gate_list list;
  bool spun = false;
  set_copies asked;
  if (!asked.make(n)) return real.pselect(n, in, out, except, timeout, mask);
  for (;;) {
    heal_held();
    const rule_view* v = current_view();
    asked.take(asked.in, in);
    asked.take(asked.out, out);
    asked.take(asked.except, except);
    list.count = 0;
    for (int fd = 0; v && fd < n; ++fd)
      if (FD_ISSET(fd, asked.in) || FD_ISSET(fd, asked.out)) add_if_gated(list, *v, fd, 0);
    const std::uint64_t now = sys::now_ns();
    std::uint64_t next = never;
    bool any_held = false;
    for (unsigned i = 0; i < list.count; ++i) {
      gated& g = list.entry[i];
      const short wanted = static_cast<short>((FD_ISSET(g.fd, asked.in) ? POLLIN : 0) | (FD_ISSET(g.fd, asked.out) ? POLLOUT : 0));
      g.hidden = hold(g, *v, self, caller, wanted, now, next);
      any_held |= g.held || g.d->redirected.load(std::memory_order_relaxed);
      if (g.held) raise_threshold(*g.d, g.fd);
      if (g.held && noisy(g, g.hidden)) {
        if (g.hidden & POLLIN) FD_CLR(g.fd, asked.in);
        if (g.hidden & POLLOUT) FD_CLR(g.fd, asked.out);
      }
    }
    const int r = wait_quietly(list, self, caller, any_held, next, deadline, now, spun, [&](const timespec* t) {
      return real.pselect(n, in ? asked.in : nullptr, out ? asked.out : nullptr, except ? asked.except : nullptr, t, mask);
    }, [&] { asked.free(); });
    if (r < 0) {
      const int error = errno;
      release_sets(list, self, caller);
      list.free();
      asked.free();
      errno = error;
      return r;
    }
    int seen = r;
    for (unsigned i = 0; r > 0 && i < list.count; ++i) {
      gated& g = list.entry[i];
      const bool was_in = FD_ISSET(g.fd, asked.in), was_out = FD_ISSET(g.fd, asked.out);
      if (!was_in && !was_out) continue;
      const rule_view* fresh = current_view();
      const short happened = static_cast<short>((was_in ? POLLIN : 0) | (was_out ? POLLOUT : 0));
      const short shown = fresh ? visible(g, *fresh, self, caller, happened) : happened;
      if (was_in && !(shown & POLLIN)) { FD_CLR(g.fd, asked.in); --seen; }
      if (was_out && !(shown & POLLOUT)) { FD_CLR(g.fd, asked.out); --seen; }
    }
    release_sets(list, self, caller);
    const bool over = deadline != never && sys::now_ns() >= deadline;
    if (seen <= 0 && !over) continue;
    list.free();
    asked.give(in, seen > 0 ? asked.in : nullptr);
    asked.give(out, seen > 0 ? asked.out : nullptr);
    asked.give(except, seen > 0 ? asked.except : nullptr);
    asked.free();
    return seen > 0 ? seen : 0;
  }
}

// `n`: how many are to be looked at.
bool select_concerns_us(int& n, const fd_set* in, const fd_set* out) {
  if (inside()) return false;
  heal_held();
  const rule_view* v = current_view();
  if (!v) return false;
  const int looked = looked_at(n);
  if (!gates_exist(in, looked, *v) && !gates_exist(out, looked, *v)) return false;
  n = looked;
  return true;
}

}  // namespace

int own_poll(abi::function_id self, pollfd* fds, nfds_t n, int timeout) {
  const int before = errno;
  if (!any_gated(fds, n)) { errno = before; return real.poll(fds, n, timeout); }
  const timespec t = sys::span(timeout > 0 ? static_cast<std::uint64_t>(timeout) * 1'000'000 : 0);
  return gated_poll(self, __builtin_return_address(0), fds, n, timeout < 0 ? nullptr : &t, nullptr);
}

int own_ppoll(abi::function_id self, pollfd* fds, nfds_t n, const timespec* timeout, const sigset_t* mask) {
  if (!any_gated(fds, n)) return real.ppoll(fds, n, timeout, mask);
  return gated_poll(self, __builtin_return_address(0), fds, n, timeout, mask);
}

int own_select(abi::function_id self, int n, fd_set* in, fd_set* out, fd_set* except, timeval* timeout) {
  if (!select_concerns_us(n, in, out)) return real.select(n, in, out, except, timeout);
  const std::uint64_t start = sys::now_ns();
  timespec t{};
  if (timeout) t = {timeout->tv_sec, timeout->tv_usec * 1000};
  const int r = gated_select(self, __builtin_return_address(0), n, in, out, except, timeout ? &t : nullptr, nullptr);
  if (timeout) {  // Linux tells how much was left, also when a signal came
    const int error = errno;
    const std::uint64_t asked = static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
    const std::uint64_t used = sys::now_ns() - start;
    const timespec left = sys::span(asked > used ? asked - used : 0);
    *timeout = {left.tv_sec, left.tv_nsec / 1000};
    errno = error;
  }
  return r;
}

int own_pselect(abi::function_id self, int n, fd_set* in, fd_set* out, fd_set* except, const timespec* timeout, const sigset_t* mask) {
  if (!select_concerns_us(n, in, out)) return real.pselect(n, in, out, except, timeout, mask);
  return gated_select(self, __builtin_return_address(0), n, in, out, except, timeout, mask);
}

}  // namespace chaos::hooks
