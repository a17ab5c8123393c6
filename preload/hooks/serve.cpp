#include "serve.hpp"

#include "moves.hpp"
#include "outcome.hpp"
#include "own.hpp"
#include "preload/runtime/closing.hpp"
#include "preload/runtime/connection.hpp"
#include "preload/runtime/held_elsewhere.hpp"
#include "preload/runtime/output_hold.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {
namespace {

// The end of a connection that chaosd brings about later. False: nobody can, it comes now.
bool hand_over(frame& f, std::uint64_t delay) {
  const descriptor& d = *f.d;
  if ((d.kind != descriptor_kind::tcp && d.kind != descriptor_kind::unix_stream) || d.listening || f.c.how == SHUT_RD) return false;
  for (unsigned i = 0; i < f.made.judged.count; ++i)
    if (core::holds(f.made.judged.fired[i]))
      return close_later(f.c.fd, f.made.judged.fired[i].id, f.made.now_ns + delay, f.c.how);
  return false;
}

// What closes nothing ends nothing that a peer could see late: a listener, and a descriptor of which there is another.
std::uint64_t without_an_end(frame& f, std::uint64_t delay) {
  bool asked = false;
  std::uint64_t of_ends = 0;
  for (unsigned i = 0; i < f.made.judged.count; ++i) {
    const core::fired_rule& r = f.made.judged.fired[i];
    if (r.kind != abi::effect::slow_close) continue;
    asked = true;
    if (!r.dry_run) of_ends += r.delay_ns;
  }
  if (!asked || f.function == abi::function_id::shutdown || (!f.d->listening && !held_elsewhere(*f.d, f.c.fd))) return delay;
  take_back(f, core::of(abi::effect::slow_close));
  return delay - of_ends;
}

void end_connection(frame& f) {
  sys::call(SYS_shutdown, f.c.fd, SHUT_RDWR);
  f.d->broken.store(true, std::memory_order_relaxed);
}

// Data stops, for good or until the connection closes.
bool meet_black_hole(frame& f, road& way) {
  const effects::verdict& v = f.made.verdict;
  const std::uint32_t ender = v.ender->id;
  black_hole(*f.d, *v.ender, v.until_ns);
  if (nonblocking(f)) remember_held(f.c.fd);
  if (v.until_ns && !(f.acts_as & in_data)) {  // taken, and never seen again: the connection is going to close
    f.error = 0;
    f.result = static_cast<long>(f.moves);
    way = road::done;
    return true;
  }
  if (nonblocking(f)) { f.error = EAGAIN; return true; }
  report_here(f, 0, abi::event_flags::blocked);  // now: nobody knows when this ends
  f.made.judged.count = 0;
  if (v.until_ns) {  // then it closes
    const std::uint64_t deadline = deadline_of(f.c.fd, SO_RCVTIMEO, f.made.now_ns);
    const waited closing = hold_until(least(v.until_ns, deadline), ender);
    f.error = closing == waited::interrupted ? EINTR : closing == waited::due && deadline < v.until_ns ? EAGAIN : 0;
    if (f.error) return true;
    if (closing != waited::due) return false;
    end_connection(f);
    f.result = 0;
    way = road::done;
    return true;
  }
  const int option = (f.acts_as & in_data) ? SO_RCVTIMEO : SO_SNDTIMEO;
  const waited w = hold_until(deadline_of(f.c.fd, option, f.made.now_ns), ender);
  if (w == waited::interrupted) { f.error = EINTR; return true; }
  if (w == waited::due) { f.error = EAGAIN; return true; }
  f.error = 0;
  return false;  // healed: nothing was lost
}

}  // namespace

bool serve_delay(frame& f) {
  std::uint64_t delay = f.made.verdict.delay_ns;
  if ((f.acts_as & cls::close) && f.d) delay = without_an_end(f, delay);
  if (!delay) return true;
  if ((f.acts_as & cls::close) && f.d->kind != descriptor_kind::file && sys::is_nonblocking(f.c.fd)) {  // an event loop closes: it must not sleep
    f.handed_over = hand_over(f, delay);
    if (!f.handed_over) take_back(f, core::of(abi::effect::slow_close) | core::of(abi::effect::latency));
    return true;
  }
  if (nonblocking(f) && f.d && (f.d->role & cls::data)) {
    charge(*f.d, f.made.judged);
    return true;
  }
  shares held;
  add_shares(held, f.made.judged);
  const std::uint64_t from = f.made.verdict.pause_ns ? sys::now_ns() : f.made.now_ns;  // behind the pause
  const std::uint64_t due = from + delay, deadline = f.acts_as & out_data ? deadline_of(f.c.fd, SO_SNDTIMEO, f.made.now_ns) : ~std::uint64_t{0};
  const waited w = hold_for(from, held, deadline);
  const bool too_late = w == waited::due && deadline < due;
  if (w != waited::due || too_late) let_go_early(f.made, core::delaying_effects, sys::now_ns() - from);
  f.error = w == waited::interrupted ? EINTR : too_late ? EAGAIN : 0;
  return !f.error;
}

bool serve_ending(frame& f, road& way) {
  const effects::verdict& v = f.made.verdict;
  way = road::fail;
  f.error = v.error;
  switch (v.end) {
    case effects::ending::none: return false;
    case effects::ending::error:
      if (v.late || v.torn) { f.error = 0; return false; }
      if (f.error == EAGAIN && f.d && (f.acts_as & cls::data) && nonblocking(f)) refire(f.c.fd);  // who trusts edges waits for the next
      return true;
    case effects::ending::reset:
      if (f.d && ended_from_outside(*f.d, f.c.fd)) {  // by chaosd, which counted it; the kernel says so itself
        take_back(f, core::of(abi::effect::reset_peer));
        f.error = 0;
        return false;
      }
      if (f.d) break_connection(*f.d, f.c.fd);
      return true;
    case effects::ending::refuse:
    case effects::ending::unreachable: return true;
    case effects::ending::crash: return true;  // ended before it came here
    case effects::ending::close:
      end_connection(f);
      f.error = 0;
      if (!(f.acts_as & in_data)) return false;  // the real call finds the end by itself: EPIPE, SIGPIPE
      f.result = 0;
      way = road::done;
      return true;
    case effects::ending::blackhole: return meet_black_hole(f, way);
  }
  return false;
}

void end_at_limit(frame& f) {
  core::fired_rule& limiter = f.made.judged.limiting;
  if (f.c.stream && (f.acts_as & out_data)) real.fflush(f.c.stream);  // what was within the limit arrives
  end_connection(f);
  limiter.state->fired.fetch_add(1, std::memory_order_relaxed);
  if (f.made.judged.count < core::fired_max) f.made.judged.fired[f.made.judged.count++] = limiter;
}

void end_if_crashing(frame& f) {
  if (f.made.verdict.end != effects::ending::crash) return;
  report_here(f, 0);
  end_process(f.made);
}

}  // namespace chaos::hooks
