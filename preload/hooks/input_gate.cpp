#include "input_gate.hpp"

#include "moves.hpp"
#include "own.hpp"
#include "rules.hpp"
#include "stdio.hpp"
#include "preload/runtime/cancellation.hpp"
#include "preload/runtime/receive_threshold.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {

// Receive or send time-out of the socket as a deadline; ~0: none.
std::uint64_t deadline_of(int fd, int option, std::uint64_t now) {
  timeval t{};
  socklen_t n = sizeof t;
  if (sys::get_option(fd, SOL_SOCKET, option, &t, &n) != 0 || (t.tv_sec == 0 && t.tv_usec == 0)) return ~std::uint64_t{0};
  return now + static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_usec) * 1000;
}

namespace {

// How many threads are asleep in wait_for_input on behalf of a rule, and in which process: a forked child has none of them.
constinit std::atomic<std::uint64_t> sleepers{0};

void count_sleeper(int change) {
  const auto pid = static_cast<std::uint64_t>(static_cast<std::uint32_t>(self.pid)) << 32;
  std::uint64_t before = sleepers.load(std::memory_order_relaxed), after;
  do {
    const std::uint64_t others = before >> 32 == pid >> 32 ? before & 0xffff'ffff : 0;
    after = pid | (change > 0 ? others + 1 : others ? others - 1 : 0);
  } while (!sleepers.compare_exchange_weak(before, after, std::memory_order_relaxed));
}

// Some thousand threads that wake every few milliseconds would be busy with nothing else.
constexpr unsigned at_full_pace = 128, slowest = 32;
std::uint64_t slowed(std::uint64_t slice) {
  const unsigned times = 1 + static_cast<std::uint32_t>(sleepers.load(std::memory_order_relaxed)) / at_full_pace;
  return slice * (times < slowest ? times : slowest);
}

}  // namespace

// A blocking reader sleeps until something happens to the queue, the due time, or a change of the rules, which it looks for after
// every slice; 0, or EINTR.
int wait_for_input(descriptor& d, int fd, const due& q, std::uint64_t until) {
  std::uint64_t now = sys::now_ns();
  const bool held = q.next_ns != 0;
  if (held && until <= now + spin_ns) { spin_until(until); return 0; }
  const delay_line* const line = d.line.load(std::memory_order_acquire);
  const rule_view* const v = current_view();
  const std::uint32_t generation = v ? v->generation.load(std::memory_order_relaxed) : 0;
  // While nothing else can change what it waits for: another thread's call may have begun the time after which a connection ends.
  const bool by_itself = held && v && !v->any_by_time;
  const auto as_before = [&] { return generation == page_generation() && lease_holds(now) && line == d.line.load(std::memory_order_acquire); };
  if (held) {
    raise_threshold(d, fd);
    until -= spin_ns;
    count_sleeper(1);
  }
  // What lies at its end (FIN) or can not be quietened is waited out by the clock alone.
  pollfd p{fd, POLLIN, 0};
  const timespec none{0, 0};
  const bool noisy = held && sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) > 0;
  for (;;) {
    const std::uint64_t slice = slowed(d.kind == descriptor_kind::tcp && !d.listening ? slice_ns : slice_ns / 5);
    const bool last = !held || until <= now + slice;
    const std::uint64_t end = last ? until : now + slice;
    const timespec rest = sys::span(end > now ? end - now : 0);
    int happened = 0;
    precise_timer precise(last);
    const int result = wait_cancellable([&] {
      if (noisy) return hold_until(end, 0, false) == waited::interrupted ? EINTR : 0;
      happened = real.ppoll(&p, 1, end == ~std::uint64_t{0} ? nullptr : &rest, nullptr);
      return happened < 0 && errno == EINTR && !restarts_after_signal() ? EINTR : 0;
    }, [&] {
      restore_threshold(d, fd);  // also what a caller has raised (wait_beyond)
      if (held) count_sleeper(-1);
    });
    precise.restore();
    now = sys::now_ns();
    if (by_itself && !last && !noisy && !result && !happened && as_before()) continue;
    if (held) {
      restore_threshold(d, fd);
      count_sleeper(-1);
    }
    return result;
  }
}

namespace {

// These bytes are due and too few; the rest has not come. 0, or EINTR.
int wait_for_more_than(descriptor& d, int fd, std::uint64_t bytes, std::uint64_t deadline) {
  if (d.kind != descriptor_kind::tcp)  // nothing to quieten the kernel with
    return hold_until(least(deadline, sys::now_ns() + slice_ns / 5), 0, false) == waited::interrupted ? EINTR : 0;
  wait_beyond(d, fd, static_cast<unsigned>(bytes));
  const int error = wait_for_input(d, fd, due{}, deadline);
  restore_threshold(d, fd);
  return error;
}

}  // namespace

road pass_gate(frame& f, int fd, bool datagrams) {
  descriptor& d = *f.d;
  const std::uint64_t deadline = nonblocking(f) ? 0 : deadline_of(fd, SO_RCVTIMEO, sys::now_ns());
  // What the call does not return without: all of it (what is taken goes on piece by piece), or what SO_RCVLOWAT says.
  const bool all = f.c.flags && (*f.c.flags & MSG_WAITALL) && f.peeks;
  const std::uint64_t needed = datagrams || nonblocking(f) ? 1 : all ? f.moves : least(d.own_threshold, f.moves);
  const auto take_due = [&](const due& q) {
    if (!datagrams) { limit_to(f, q.bytes); f.due_bytes = q.bytes; }
    return road::go;
  };
  for (;;) {
    const rule_view* v = current_view();
    if (!v) { restore_threshold(d, fd); return road::go; }
    const due q = look(d, fd, *v, f.function, f.caller);
    if (!q.gated || q.end) return road::go;
    if (q.bytes && q.bytes >= needed) return take_due(q);
    if (nonblocking(f)) {
      // Nothing was there, and asking the kernel once more could give what has come since, before it is due.
      if (!q.next_ns && !q.empty) return road::go;
      if (q.next_ns) refire(fd);
      f.error = EAGAIN;
      return road::fail;
    }
    const std::uint64_t now = sys::now_ns(), end = q.ends_ns ? q.ends_ns : ~std::uint64_t{0};
    if (now >= end) return road::go;  // the call itself meets the end
    if (now >= deadline) f.error = EAGAIN;
    else if (q.bytes && !q.next_ns) f.error = wait_for_more_than(d, fd, q.bytes, least(deadline, end));
    else f.error = wait_for_input(d, fd, q, least(least(q.next_ns ? q.next_ns : ~std::uint64_t{0}, end), deadline));
    if (!f.error) continue;
    if (!q.bytes) return road::fail;
    f.error = 0;
    return take_due(q);  // as the kernel does: what it has by then
  }
}

road meet_sender(frame& f) {
  const auto can_apply = [](const abi::rule& r) { return (r.classes & abi::classes::datagram_in) && !(core::of(r.kind) & core::datagram_arrival_effects); };
  f.c.to = nullptr;  // that of a datagram before, which was lost
  if (!any_rule(*f.view, f.view->mask, can_apply)) return road::go;
  const std::uint64_t deadline = nonblocking(f) ? 0 : deadline_of(f.c.fd, SO_RCVTIMEO, sys::now_ns());
  for (;;) {
    socklen_t n = sizeof f.sender;
    const long there = sys::call(SYS_recvfrom, f.c.fd, nullptr, 0, MSG_PEEK | MSG_DONTWAIT, &f.sender, &n);
    if (there >= 0) {
      f.c.to = reinterpret_cast<const sockaddr*>(&f.sender);
      f.c.to_len = n;
      return road::go;
    }
    if (there != -EAGAIN) f.error = static_cast<std::int32_t>(-there);  // an error that was pending, and is told once
    else if (nonblocking(f)) return road::pass;
    else if (sys::now_ns() >= deadline) f.error = EAGAIN;
    else f.error = wait_for_input(*f.d, f.c.fd, due{}, deadline);
    if (f.error) return road::fail;
  }
}

bool nothing_to_read(frame& f) {
  if (!nonblocking(f) || (f.c.stream && read_ahead(f.c.stream))) return false;
  pollfd p{f.c.fd, POLLIN, 0};
  const timespec none{0, 0};
  return sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) == 0;
}

}  // namespace chaos::hooks
