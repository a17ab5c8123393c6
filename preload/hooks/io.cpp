// The common road: enter() before the real call, leave() after it. What either does to a call stands in files of its own.
#include <stdio_ext.h>
#include <string.h>

#include "corrupt.hpp"
#include "growth.hpp"
#include "http.hpp"
#include "input_gate.hpp"
#include "moves.hpp"
#include "outcome.hpp"
#include "own.hpp"
#include "paths.hpp"
#include "reorder.hpp"
#include "rules.hpp"
#include "sending.hpp"
#include "serve.hpp"
#include "slice_gap.hpp"
#include "stdio.hpp"
#include "preload/runtime/connection.hpp"
#include "preload/runtime/delay_line.hpp"
#include "preload/runtime/ending.hpp"
#include "preload/runtime/owner.hpp"

namespace chaos::hooks {

bool nonblocking(frame& f) {
  if (f.nonblocking_ < 0) f.nonblocking_ = (f.c.flags && (*f.c.flags & MSG_DONTWAIT)) || sys::is_nonblocking(f.c.fd);
  return f.nonblocking_;
}

bool look_anew(frame& f) {
  if (f.view->generation.load(std::memory_order_relaxed) == page_generation()) return true;
  const rule_view* const now = current_view();
  if (now && classify(f.c.fd, *now) == f.d) {
    f.view = now;
    return true;
  }
  f.newest = 0;
  return false;
}

namespace {

void decide_here(frame& f, std::uint64_t bytes, core::effect_set kinds) {
  std::uint64_t mask[4];
  if (f.d && f.d->per_call && f.c.to) {
    core::endpoint e;
    e.over = abi::transport::datagram;
    e.has_remote = parse_address(f.c.to, f.c.to_len, e.remote, e.remote_port);
    e.listen_port = f.d->local_port;
    match_endpoint(*f.view, e, mask);
  } else if (f.d) {
    memcpy(mask, f.http ? f.http_mask : f.d->mask, sizeof mask);
  }
  leave_out_newer(*f.view, f.newest, mask);
  core::facts_of_call facts{.function = f.function, .acts_as = f.acts_as, .kinds = kinds, .size = f.moves, .bytes = bytes};
  if ((f.acts_as & (cls::file_io | cls::sync)) && full_disk_among(*f.view, mask, f.function)) facts.grows = growth(f);
  decide(facts, mask, f.d, *f.view, f.caller, f.made);
}

// Its time is up, and that needs no byte to be told of.
bool ends_now(const frame& f) {
  const effects::verdict& v = f.made.verdict;
  return v.end == effects::ending::reset && v.ender->kind == abi::effect::reset_peer && v.ender->asked_delay_ns && core::ends_unasked(*v.ender->rule);
}

road enter_descriptor(frame& f, abi::class_set row) {
  const int fd = f.c.fd;
  f.d = classify(fd, *f.view);
  if (!f.d) return road::pass;
  if (heal_redirect(*f.d, fd)) reclassify(fd);
  f.acts_as = row & f.d->role;
  const abi::class_set matched = static_cast<abi::class_set>(f.d->head.load(std::memory_order_relaxed));
  if (!(matched & f.acts_as)) return road::pass;
  const bool input = f.acts_as & in_data, output = f.acts_as & out_data;
  if (input && f.c.flags && (*f.c.flags & beside_the_queue)) return road::pass;
  f.peeks = f.c.flags && (*f.c.flags & MSG_PEEK);
  f.moves = asked_bytes(f.c);
  if (!f.gathered) {
    f.wanted = f.moves;
    if (f.c.msg_in) f.asked_control = (*f.c.msg_in)->msg_controllen, f.asked_name = (*f.c.msg_in)->msg_namelen;
  }
  if ((input || output) && take_owed_reset(*f.d)) { f.error = ECONNRESET; return road::fail; }
  if (input && f.d->broken.load(std::memory_order_relaxed)) { f.result = 0; return road::done; }

  if (input && f.view->any_by_time && may_end(*f.d, *f.view) && !nonblocking(f)) learn_end(*f.d, fd, *f.view, f.function, f.caller);
  if (input && gates(*f.d, *f.view)) {
    if (served_from_buffer(f)) limit_to(f, read_ahead(f.c.stream));
    else if (const road way = pass_gate(f, fd, f.acts_as & cls::datagram_in); way != road::go) return way;
    if (take_owed_reset(*f.d)) { f.error = ECONNRESET; return road::fail; }
  }
  if (output && sending_is_held(*f.d) && nonblocking(f)) {
    refire(fd);
    f.error = EAGAIN;
    return road::fail;
  }
  if (output && has_gap(f.d->gap_out) && !wait_out_gap(f)) return road::fail;
  road way;
  if ((f.acts_as & cls::datagram_in) && f.d->per_call && (way = meet_sender(f)) != road::go) return way;
  if (!look_anew(f)) return road::go;
  if ((f.acts_as & cls::datagram_in) && datagram_waits(f.d) && reorder_enter(f, way)) return way;
  if ((f.acts_as & cls::datagram_in) && !f.peeks && twice_enter(f, way)) return way;
  if (f.d->http_rules && (f.acts_as & cls::streams) && f.c.end_of_transfer != transfer_end::source && !http_enter(f, way)) return way;
  core::effect_set kinds = !input ? ~core::effect_set{0} : f.acts_as & cls::datagram_in ? ~core::datagram_arrival_effects : ~core::arrival_effects;
  if (f.c.stream && !goes_in_pieces(f)) kinds &= ~core::of(abi::effect::slicer);
  if (f.d->broken.load(std::memory_order_relaxed)) kinds &= ~core::ending_effects;
  decide_here(f, f.moves, kinds);
  if (f.http && f.made.judged.matched) http_decided(*f.d, input ? core::http::way::in : core::http::way::out);
  const effects::verdict& what = f.made.verdict;
  if (what.ends_ns) note_end(*f.d, what.ends_rule, what.ends_ns);
  if (!f.made.judged.count && what.cap == UINT64_MAX) return road::go;
  if (input && !ends_now(f) && nothing_to_read(f)) {  // a decision is about something that is there: polling must not use it up
    undecide(f.made);
    return f.http ? road::go : road::pass;
  }
  if (!serve_pause(f.made, f.error)) { report_here(f, 0); return road::fail; }
  end_if_crashing(f);
  if (what.bandwidth && output && !send_through_bucket(f)) {
    if (f.error == EAGAIN) take_back(f, core::of(abi::effect::bandwidth));
    report_here(f, 0);
    return road::fail;
  }
  if (what.gap_ns) tell_gap(f, end_gap(input ? f.d->gap_in : f.d->gap_out));
  if (!serve_delay(f)) { report_here(f, 0); return road::fail; }
  if ((f.acts_as & cls::close) && f.made.verdict.end == effects::ending::none) {  // afterwards nobody knows what it was
    report_here(f, 0);
    f.made.judged.count = 0;
  }
  if (f.handed_over && f.c.how >= 0) { f.result = 0; return road::done; }  // shut down then, not now
  if (f.made.verdict.drop && output) { report_here(f, f.moves); f.result = static_cast<long>(f.moves); return road::done; }
  if (serve_ending(f, way)) { report_here(f, 0); return way; }
  if (f.acts_as & (cls::streams | cls::file_io)) limit_to(f, what.cap);
  f.twice = what.twice && output;
  if (f.made.verdict.corrupting && (output || (f.acts_as & cls::file_io && writes(f))) && !copy_out(f)) take_back(f, core::of(abi::effect::corrupt));
  if (what.status) {
    way = http_answer(f, what.status);
    if (way != road::go) { report_here(f, 0); f.made.judged.count = 0; }
    else if (!f.gathered) take_back(f, core::of(abi::effect::http_error));
    return way;
  }
  return road::go;
}

// A call that ends a descriptor: when no rule is about that, what it was need not be found out.
bool only_ends(const frame& f, abi::class_set row) {
  return (row & cls::close) && !(row & ~(cls::close | cls::file_io)) && f.function != abi::function_id::shutdown;  // who its peer was is known only before
}

road enter_inside(frame& f) {
  const abi::class_set row = f.acts_as;
  if (f.c.closes >= 0) forget(f.c.closes);
  f.view = current_view();
  if (f.view && !f.gathered) f.newest = f.view->newest;
  if (f.c.stream) {
    f.c.fd = fileno(f.c.stream);
    f.pending = __fpending(f.c.stream);
  }
  if (!f.view) {
    if ((row & cls::datagram_in) && f.c.fd >= 0 && (f.d = entry_if_any(f.c.fd)) && datagram_waits(f.d)) {  // its rule has gone
      f.peeks = f.c.flags && (*f.c.flags & MSG_PEEK);
      if (road way; reorder_enter(f, way, true)) return way;
    }
    if ((row & abi::classes::close) && f.c.fd >= 0 && f.function != abi::function_id::shutdown) forget(f.c.fd);
    else if (f.c.fd >= 0 && moves_over_one(f.function)) nothing_concerns(f.c.fd);
    return road::pass;
  }
  road way = road::go;
  if (f.c.path) way = enter_path(f);
  else if (f.c.fd >= 0 && only_ends(f, row) && !(f.view->asked & row)) way = road::pass;
  else if (f.c.fd >= 0 && (f.view->classes & row)) way = enter_descriptor(f, row);
  else if (f.c.fd >= 0 && moves_over_one(f.function)) classify(f.c.fd, *f.view);  // the next call knows at once
  else if (f.c.fd < 0 && !(f.view->asked & row & cls::descriptor)) way = road::pass;
  else if (f.c.fd < 0) {
    f.acts_as = row & cls::descriptor;
    core::endpoint nothing;
    std::uint64_t mask[4];
    match_endpoint(*f.view, nothing, mask);
    decide({.function = f.function, .acts_as = f.acts_as}, mask, nullptr, *f.view, f.caller, f.made);
    end_if_crashing(f);
    if (f.made.judged.count && !serve_pause(f.made, f.error)) way = road::fail;
    else if (f.made.judged.count && serve_ending(f, way)) report_here(f, 0);
    else way = road::go;
  }
  if ((row & abi::classes::close) && f.c.fd >= 0 && way != road::fail && f.function != abi::function_id::shutdown) forget(f.c.fd);
  return way;
}

}  // namespace

namespace {
// The thread was cancelled in the real call, which so did nothing. What it was made to wait before is told of.
void abandon(frame& f) {
  inside_scope work;
  drop_copy(f);
  std::uint32_t came_to_nothing = 0;
  for (unsigned i = 0; i < f.made.judged.count; ++i)
    if (!f.made.judged.fired[i].delay_ns && !f.made.judged.fired[i].dry_run) came_to_nothing |= 1u << i;
  take_back_those(f, came_to_nothing);
  f.made.judged.reserved.give_back_unused(true);
  report_here(f, 0);
  work.end();
}
}  // namespace

road enter(frame& f) {
  f.once_more = f.capped = f.peeks = f.twice = f.http = f.handed_over = false;
  f.due_bytes = UINT64_MAX;
  f.nonblocking_ = -1;
  f.error = 0;
  f.d = nullptr;
  f.copy = nullptr;
  f.guarded = false;
  f.asked_msg = nullptr;
  f.moves = f.pending = 0;
  f.made.judged.count = f.made.judged.matched = f.made.judged.reserved.count = 0;
  f.made.verdict = effects::no_verdict;
  if (inside()) return road::pass;
  inside_scope work;
  if (f.gathered && f.c.msg_in) continue_message(f);
  if (f.gathered) f.moves = asked_bytes(f.c);
  road way = enter_inside(f);
  if (way == road::pass && f.gathered) way = road::go;  // the rules have gone: the rest comes at once
  if (way != road::go && f.asked_msg && f.c.msg_in) *f.c.msg_in = f.asked_msg;
  if (f.c.stream && !f.c.path) way = as_stdio(f, way);
  if (way != road::go) drop_copy(f);
  else if (push_clean_up && (f.copy || f.made.judged.count)) {
    push_clean_up(&f.if_cancelled, [](void* of) { abandon(*static_cast<frame*>(of)); }, &f);
    f.guarded = true;
  }
  if (way == road::fail) f.made.judged.reserved.give_back_unused(true);
  work.end();
  return way;
}

bool failed(const frame& f, long result, int error) {
  switch (abi::function_table[static_cast<unsigned>(f.function)].how) {
    case abi::fails::null:
    case abi::fails::zero_items: return result == 0;
    case abi::fails::code: return error != 0;
    default: return result < 0;
  }
}

// --late: the program hears that nothing was opened.
static void close_again(abi::function_id opened_by, long result) {
  const abi::function_info& info = abi::function_table[static_cast<unsigned>(opened_by)];
  if ((info.classes & cls::descriptor) && info.how == abi::fails::minus_one) sys::close_fd(static_cast<int>(result));
}

long leave(frame& f, long result, int& error) {
  inside_scope work;
  if (f.guarded) pop_clean_up(&f.if_cancelled, 0);
  if (f.http && result > 0 && !f.peeks) http_leave(f, static_cast<std::uint64_t>(result));
  drop_copy(f);
  if (f.asked_msg) {  // give back what the kernel wrote beside the data
    if (f.c.msg_in && (result > 0 || !f.gathered)) {
      f.asked_msg->msg_namelen = f.msg.msg_namelen;
      f.asked_msg->msg_controllen = f.msg.msg_controllen;
      f.asked_msg->msg_flags = f.msg.msg_flags;
    }
  }
  const bool input = f.acts_as & in_data, output = f.acts_as & out_data;
  const bool reads_stdio = f.c.stream && f.c.in;
  const std::uint64_t moved = result > 0 && (f.moves || reads_stdio) ? static_cast<std::uint64_t>(result) : 0;
  if (input && result < 0 && error == EAGAIN) undecide(f.made);
  if (f.d && input && moved) {
    if (f.made.verdict.corrupting) {
      if (lands_nowhere(f)) take_back(f, core::of(abi::effect::corrupt));
      else corrupt_in(f, reads_stdio ? moved : least(moved, f.moves));
    }
    if (reads_stdio) f.d->stdio_in.fetch_add(moved, std::memory_order_relaxed);
    if (!f.peeks && !(f.c.stream && f.d->line.load(std::memory_order_relaxed))) consumed(*f.d, moved);
  } else if (f.d && (f.acts_as & cls::file_io) && f.made.verdict.corrupting && !writes(f)) {
    if (lands_nowhere(f)) take_back(f, core::of(abi::effect::corrupt));
    else if (moved) corrupt_in(f, reads_stdio ? moved : least(moved, f.moves));
  }
  if (f.d && input && f.c.stream) consumed_unseen(*f.d, f.c.fd);
  if (f.d && output && moved) add_to(*f.d, f.d->out_bytes, moved);
  if (f.d && f.made.verdict.limited && moved >= f.made.verdict.limit && !f.peeks) end_at_limit(f);
  if (f.d && f.c.stream) note_counted(f);
  if (!moved && f.made.judged.count) take_back(f, core::of(abi::effect::corrupt));
  const bool cut = f.capped && moved >= f.moves && !(f.c.stream && __fbufsize(f.c.stream) > 1);  // what is collected there goes out whole
  if ((input || output) && !cut && !f.made.verdict.gap_ns) take_back(f, core::of(abi::effect::slicer), false);
  if (f.asked_msg) {
    if (f.c.msg_in) *f.c.msg_in = f.asked_msg;
    if (f.c.msg_out) *f.c.msg_out = f.asked_msg;
  }
  if (f.made.verdict.gap_ns && moved && !f.peeks) begin_gap_here(f, input);
  count_bytes(f.made.judged, moved);
  report_here(f, moved);
  if (f.made.verdict.end == effects::ending::error && (f.made.verdict.late || f.made.verdict.torn) && result >= 0) {
    f.error = f.made.verdict.error;
    if (f.acts_as & cls::file_open) close_again(f.function, result);
    if (f.c.stream && !f.c.path) mark_error(f);
  }
  f.made.judged.reserved.give_back_unused(f.error || failed(f, result, error), f.moves && !f.c.stream ? moved : core::not_bytes);
  // A short read or write of ours must not look like an empty queue, or a full one, to who trusts edges.
  if ((input || output) && f.capped && nonblocking(f) && moved) refire(f.c.fd);
  if (output && f.gathered && moved) f.gathered += moved;
  if (moved && (f.capped || f.gathered) && waits_for_all(f) && !nonblocking(f)) go_on_behind(f, moved);
  if (!f.once_more && f.gathered) {
    result = static_cast<long>(f.gathered);
    error = 0;
  }
  work.end();
  return result;
}

}  // namespace chaos::hooks
