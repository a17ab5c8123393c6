// Taking connections. One that is delayed does not exist yet before it is due: a blocking call sleeps, a non-blocking one
// says EAGAIN, and event loops are not told of the listener (poll.cpp, epoll.cpp).
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "own.hpp"
#include "rules.hpp"
#include "preload/runtime/accept_gate.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {
namespace {

constexpr std::uint64_t never = ~std::uint64_t{0};
constexpr std::uint64_t waited_ns = 5'000'000;  // a call that found a connection there does not take as long

bool somebody_waits(int listener) {
  pollfd p{listener, POLLIN, 0};
  const timespec none{0, 0};
  return sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) != 0;
}

// Until the first connection is due; 0, or the errno.
int wait_until_due(abi::function_id self, descriptor& d, int listener, bool nonblocking, const void* caller) {
  const std::uint64_t deadline = nonblocking ? 0 : deadline_of(listener, SO_RCVTIMEO, sys::now_ns());
  for (;;) {
    const rule_view* v = current_view();
    if (!v) return 0;
    const due q = look(d, listener, *v, self, caller);
    if (!q.gated || q.bytes) return 0;
    if (nonblocking) {
      if (q.next_ns) refire(listener);
      else if (!q.empty) return 0;
      return EAGAIN;
    }
    if (sys::now_ns() >= deadline) return EAGAIN;
    const std::uint64_t until = q.next_ns ? q.next_ns : never;
    if (const int error = wait_for_input(d, listener, q, until < deadline ? until : deadline)) return error;
  }
}

// Did the kernel have the call wait for this connection? Else it is the one that was looked at before.
bool came_during(int made, std::uint64_t took_ns) {
  if (took_ns < waited_ns) return false;
  tcp_info info{};
  socklen_t n = sizeof info;
  const bool tells_age = sys::get_option(made, IPPROTO_TCP, TCP_INFO, &info, &n) == 0;
  return !tells_age || info.tcpi_last_data_sent < took_ns / 2'000'000;
}

bool before(abi::function_id self, int listener, const rule_view& entered, const void* caller, accepting& a, int& error) {
  const std::uint32_t newest = entered.newest;
  descriptor* d = classify(listener, entered);
  if (!d || !(d->head.load(std::memory_order_relaxed) & abi::classes::accept)) return true;
  const bool nonblocking = sys::is_nonblocking(listener);
  if (delays_accepts(*d, entered)) {
    if ((error = wait_until_due(self, *d, listener, nonblocking, caller))) return false;
    a.gate = d;
  }
  // A decision is made for a connection, not for a look at an empty queue.
  if (nonblocking && !somebody_waits(listener)) { a.gate = nullptr; return true; }
  const rule_view* const v = current_view();  // it may have waited
  if (!v || classify(listener, *v) != d) return true;
  std::uint64_t mask[4];
  for (unsigned w = 0; w < 4; ++w) mask[w] = d->mask[w];
  leave_out_newer(*v, newest, mask);
  decision made;
  decide({.function = self, .acts_as = abi::classes::accept, .kinds = ~core::accept_effects, .now_ns = sys::now_ns()}, mask, d, *v, caller, made);
  report_fired(made, *d, listener, 0, caller);
  const effects::verdict& what = made.verdict;
  if (what.end == effects::ending::crash) end_process(made);
  if (!serve_pause(made, error)) {
    made.judged.reserved.give_back_unused(true);
    return false;
  }
  if (what.end != effects::ending::error) {
    if (made.judged.reserved.count) a.reserved = made.judged.reserved;
    return true;
  }
  made.judged.reserved.give_back_unused(true);
  error = what.error;
  if (what.late) {
    const int taken = static_cast<int>(sys::call(SYS_accept4, listener, nullptr, nullptr, 0));
    if (taken >= 0) sys::close_fd(taken);
  }
  return false;
}

}  // namespace

bool before_accept(abi::function_id self, int listener, const void* caller, accepting& a, int& error) {
  const rule_view* v = inside() ? nullptr : current_view();
  if (!v || !(v->classes & abi::classes::accept)) return true;
  const int was = errno;
  inside_scope work;
  const bool good = before(self, listener, *v, caller, a, error);
  if (good && a.gate) {
    begin_accept(*a.gate);
    a.began_ns = sys::now_ns();
  }
  work.end();
  errno = was;
  return good;
}

int after_accept(abi::function_id self, int listener, int made, const void* caller, accepting& a) {
  if (inside()) return made;
  a.reserved.give_back_unused(made < 0);
  const int was = errno;
  if (a.gate) {
    inside_scope work;
    taken_connection t;
    const rule_view* v = current_view();
    const bool new_to_us = made >= 0 && came_during(made, sys::now_ns() - a.began_ns);
    if (end_accept(*a.gate, made >= 0, new_to_us, v, self, caller, t)) {
      // Of several that accept here another one got what was due: this one is taken already, and given when it is.
      if (t.due_ns > sys::now_ns() && !sys::is_nonblocking(listener))
        while (hold_for(t.seen_ns, t.held) == waited::interrupted) {}
      if (!t.is_told) tell(self, *a.gate, listener, t, caller);
    }
    work.end();
  }
  if (made >= 0) {
    if (current_view()) note_accept(made);
    else forget(made);
  }
  errno = was;
  return made;
}

}  // namespace chaos::hooks
