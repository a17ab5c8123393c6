#include "serve.hpp"

#include "moves.hpp"
#include "outcome.hpp"
#include "own.hpp"
#include "rules.hpp"
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

constexpr core::effect_set black_holes = core::standing_effects | core::of(abi::effect::down);

// The rule that a call stood still by has gone. Others that match it were not reached, as the first had ended the list: does another one
// hold it? They were asked when the call came, which counts once.
bool held_by_another(frame& f, decision& another) {
  if (f.http || !look_anew(f)) return false;
  const core::judgement& asked = f.made.judged;
  const auto holds = [&](const abi::rule& r) { return core::of(r.kind) & black_holes; };
  std::uint64_t mask[4];
  for (unsigned w = 0; w < 4; ++w) mask[w] = f.d->mask[w];
  leave_out_newer(*f.view, f.newest, mask);
  if (!any_rule(*f.view, mask, holds)) return false;
  for (unsigned i = 0; i < asked.matched && i < core::fired_max; ++i)
    any_rule(*f.view, mask, [&](const abi::rule& r) {
      if (r.id != asked.asked_rules[i] || !holds(r)) return false;
      take_match_back(asked, i);
      return true;
    });
  decide({.function = f.function, .acts_as = f.acts_as, .kinds = black_holes, .size = f.moves, .bytes = f.moves}, mask, f.d, *f.view, f.caller, another);
  if (another.verdict.end == effects::ending::blackhole) return true;
  for (unsigned i = 0; i < another.judged.count; ++i) core::give_back(another.judged.fired[i]);
  return false;
}

// Data stops, for good or until the connection closes.
[[gnu::noinline]] bool meet_black_hole(frame& f, road& way) {
  const bool input = f.acts_as & in_data;
  const std::uint64_t deadline = nonblocking(f) ? 0 : deadline_of(f.c.fd, input ? SO_RCVTIMEO : SO_SNDTIMEO, f.made.now_ns);
  decision another;
  for (const decision* by = &f.made;; by = &another) {
    const std::uint64_t until = by->verdict.until_ns;
    const std::uint32_t ender = by->verdict.ender->id;
    black_hole(*f.d, *by->verdict.ender, until);
    if (nonblocking(f)) remember_held(f.c.fd);
    if (until && !input) {  // taken, and never seen again: the connection is going to close
      f.error = 0;
      f.result = static_cast<long>(f.moves);
      way = road::done;
      return true;
    }
    if (nonblocking(f)) { f.error = EAGAIN; return true; }
    if (by == &another) report_fired(another, *f.d, f.c.fd, 0, f.caller, abi::event_flags::blocked);
    else report_here(f, 0, abi::event_flags::blocked);  // now: nobody knows when this ends
    f.made.judged.count = 0;
    const waited w = hold_until(until ? least(until, deadline) : deadline, ender);
    f.error = w == waited::interrupted ? EINTR : w == waited::due && (!until || deadline < until) ? EAGAIN : 0;
    if (f.error) return true;
    if (w == waited::due) {  // then it closes
      end_connection(f);
      f.result = 0;
      way = road::done;
      return true;
    }
    if (!held_by_another(f, another)) return false;  // healed: nothing was lost
  }
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
