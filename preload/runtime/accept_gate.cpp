#include "accept_gate.hpp"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "pool.hpp"

namespace chaos {

struct accept_gate {
  static constexpr unsigned stamps_max = 128, accepting_max = 64;
  struct stamp { std::uint64_t upto, seen_ns; };
  std::atomic<std::uint32_t> in_use;
  std::uint64_t taken;             // left the queue since the gate began
  std::uint64_t seen;              // taken + waiting, at the latest look
  unsigned first, count;           // ring of stamps
  stamp stamps[stamps_max];
  std::int32_t accepting[accepting_max];  // tids of threads between begin_accept and end_accept; 0: free
  unsigned crowd;                  // of those for whom there was no room, how many
  bool judged;                     // the one at the head
  taken_connection head;
};

namespace {

constinit pool<accept_gate, 1024> accept_gates;

accept_gate* take_gate() {
  accept_gate* const g = accept_gates.take();
  if (!g) return nullptr;
  g->taken = g->seen = 0;
  g->first = g->count = g->crowd = 0;
  for (std::int32_t& tid : g->accepting) tid = 0;
  g->judged = false;
  return g;
}

accept_gate* gate_of(descriptor& d) {  // the entry is locked
  accept_gate* g = d.accepts.load(std::memory_order_relaxed);
  if (!g && (g = take_gate())) d.accepts.store(g, std::memory_order_release);
  return g;
}

std::uint64_t waiting(const descriptor& d, int fd) {
  pollfd p{fd, POLLIN, 0};
  const timespec none{0, 0};
  if (sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) <= 0 || !(p.revents & POLLIN)) return 0;
  tcp_info info{};
  socklen_t n = sizeof info;
  if (d.kind == descriptor_kind::tcp && sys::get_option(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_state == TCP_LISTEN && info.tcpi_unacked)
    return info.tcpi_unacked;
  return 1;
}

// Threads that are about to take a connection, or have taken one that is not counted yet. Who was cancelled in accept, or is a
// thread of the process that we were forked from, takes none.
unsigned accepting_now(accept_gate& g) {
  unsigned n = g.crowd;
  for (std::int32_t& tid : g.accepting) {
    if (tid && sys::call(SYS_tgkill, sys::pid(), tid, 0) == -ESRCH) tid = 0;
    n += tid != 0;
  }
  return n;
}

void begin_accept(accept_gate& g, std::int32_t me) {
  std::int32_t* free = nullptr;
  for (std::int32_t& tid : g.accepting) {
    if (tid == me) return;  // it jumped out of the accept before
    if (!tid && !free) free = &tid;
  }
  if (free) *free = me;
  else ++g.crowd;
}

void end_accept(accept_gate& g, std::int32_t me) {
  for (std::int32_t& tid : g.accepting)
    if (tid == me) { tid = 0; return; }
  if (g.crowd) --g.crowd;
}

void stamp_arrivals(accept_gate& g, std::uint64_t total, std::uint64_t now) {
  if (total <= g.seen) return;
  g.seen = total;
  if (g.count == accept_gate::stamps_max) {  // full: the newest two become one
    g.stamps[(g.first + g.count - 1) % accept_gate::stamps_max] = {total, now};
    return;
  }
  g.stamps[(g.first + g.count++) % accept_gate::stamps_max] = {total, now};
}

void leave_the_queue(accept_gate& g, std::uint64_t n) {
  g.taken += n;
  if (g.seen < g.taken) g.seen = g.taken;
  while (g.count && g.stamps[g.first].upto <= g.taken) {
    g.first = (g.first + 1) % accept_gate::stamps_max;
    --g.count;
  }
  g.judged = false;
}

// It went to somebody else: as if it had never been asked about.
void leave_to_others(accept_gate& g, std::uint64_t n) {
  if (g.judged && !g.head.is_told) undecide(g.head.made);
  leave_the_queue(g, n);
}

void judge_head(accept_gate& g, descriptor& d, const rule_view& v, abi::function_id function, const void* caller, std::uint64_t now) {
  if (g.judged) return;
  g.judged = true;
  taken_connection& head = g.head;
  head.seen_ns = g.count ? g.stamps[g.first].seen_ns : now;
  decide({.function = function, .acts_as = abi::classes::accept, .kinds = core::accept_effects, .now_ns = now}, d.mask, &d, v, caller, head.made);
  head.due_ns = head.seen_ns + head.made.verdict.delay_ns;
  head.held.count = 0;
  add_shares(head.held, head.made.judged);
  head.is_told = false;
  for (unsigned i = 0; i < head.made.judged.count; ++i) head.told[i] = injection_of(head.made.judged.fired[i]);
}

void let_go_if_released(accept_gate& g, const descriptor& d, int fd, abi::function_id function, const void* caller, std::uint64_t now) {
  if (!g.judged || g.head.due_ns <= now) return;
  g.head.held.drop_ended(now);
  g.head.due_ns = g.head.seen_ns + g.head.held.total();
  if (g.head.due_ns > now) return;
  g.head.due_ns = now;
  tell(function, d, fd, g.head, caller);
}

}  // namespace

void tell(abi::function_id function, const descriptor& d, int fd, taken_connection& t, const void* caller) {
  t.is_told = true;
  if (!t.made.judged.count) return;
  char room[sizeof abi::event::text];
  const char* text = describe(d, fd, room, sizeof room);
  const std::uint64_t now = sys::now_ns();
  shares held;
  add_shares(held, t.made.judged);
  held.fit(now > t.seen_ns ? now - t.seen_ns : 0, now);  // maybe let go early
  call_stack stack_room;
  const call_stack* const stack = stack_if_watched(stack_room);
  for (unsigned i = 0; i < t.made.judged.count; ++i) {
    injection& told = t.told[i];
    const bool dry_run = told.flags & abi::event_flags::dry_run;
    if (!dry_run) told.delay_ns = held.of(told.rule);
    report_injection(told, {function, now, 0, d.ordinal, text, caller, abi::event_flags::gated, stack});
    if (told.delay_ns && !dry_run) add_delay(told.slot, told.rule, told.delay_ns);
  }
}

void tell_if_released(descriptor& d, int fd, abi::function_id function, const void* caller) {
  if (!d.accepts.load(std::memory_order_acquire) || !lock(d)) return;
  if (accept_gate* g = d.accepts.load(std::memory_order_relaxed)) let_go_if_released(*g, d, fd, function, caller, sys::now_ns());
  unlock(d);
}

void release_accept_gate(accept_gate* g) { accept_gates.give_back(*g); }

bool delays_accepts(const descriptor& d, const rule_view& v) {
  if (!d.listening || !(v.classes & abi::classes::accept)) return false;
  const unsigned n = v.bank->count < abi::rule_max ? v.bank->count : abi::rule_max;
  for (unsigned i = 0; i < n; ++i) {
    const abi::rule& r = v.bank->rules[i];
    if ((d.mask[i / 64] >> (i % 64) & 1) && (core::of(r.kind) & core::accept_effects) && (r.classes & abi::classes::accept)) return true;
  }
  return false;
}

due look_at_connections(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller) {
  due out;
  if (!lock(d)) return out;
  accept_gate* g = gate_of(d);
  if (!g) { unlock(d); return out; }
  out.gated = true;
  const std::uint64_t there = waiting(d, fd), total = g->taken + there, now = sys::now_ns();
  out.empty = there == 0;
  if (total < g->seen)
    if (const unsigned ours = accepting_now(*g); total + ours < g->seen) leave_to_others(*g, g->seen - total - ours);
  stamp_arrivals(*g, total, now);
  if (g->seen > g->taken) {
    judge_head(*g, d, v, function, caller, now);
    let_go_if_released(*g, d, fd, function, caller, now);
    if (g->head.due_ns > now) out.next_ns = g->head.due_ns;
    else out.bytes = 1;
  }
  unlock(d);
  return out;
}

void begin_accept(descriptor& d) {
  if (!lock(d)) return;
  if (accept_gate* g = gate_of(d)) begin_accept(*g, cached_tid());
  unlock(d);
}

bool end_accept(descriptor& d, bool accepted, bool new_to_us, const rule_view* v, abi::function_id function, const void* caller, taken_connection& out) {
  if (!lock(d)) return false;
  bool told = false;
  accept_gate* g = d.accepts.load(std::memory_order_relaxed);
  if (g) end_accept(*g, cached_tid());
  if (g && accepted) {
    const std::uint64_t now = sys::now_ns();
    if (new_to_us && g->seen > g->taken) leave_to_others(*g, g->seen - g->taken);
    if (v) judge_head(*g, d, *v, function, caller, now);
    told = g->judged;
    if (told) out = g->head;
    leave_the_queue(*g, 1);
  }
  unlock(d);
  return told;
}

}  // namespace chaos
