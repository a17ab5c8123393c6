// The common road: enter() before the real call, leave() after it.
#include <stdio_ext.h>
#include <string.h>
#include <sys/stat.h>

#include "chaos/abi/session.hpp"
#include "http.hpp"
#include "own.hpp"
#include "reorder.hpp"
#include "preload/runtime/closing.hpp"
#include "preload/runtime/connection.hpp"
#include "preload/runtime/delay_line.hpp"
#include "preload/runtime/owner.hpp"
#include "preload/runtime/slice_gap.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {
namespace {

namespace cls = abi::classes;

constexpr abi::class_set in_data = cls::stream_in | cls::datagram_in;
constexpr abi::class_set out_data = cls::stream_out | cls::datagram_out;
constexpr int stdio_error = 0x20;  // glibc's _IO_ERR_SEEN, and musl's F_ERR

}  // namespace

bool nonblocking(frame& f) {
  if (f.nonblocking_ < 0) f.nonblocking_ = (f.c.flags && (*f.c.flags & MSG_DONTWAIT)) || sys::is_nonblocking(f.c.fd);
  return f.nonblocking_;
}

namespace {

bool nothing_to_read(frame& f) {
  if (!nonblocking(f)) return false;
  pollfd p{f.c.fd, POLLIN, 0};
  const timespec none{0, 0};
  return sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) == 0;
}

bool sending_is_held(descriptor& d) {
  const delay_line* line = d.line.load(std::memory_order_relaxed);
  const bool possible = (line && line->blackhole_rule) || d.connect_due_ns.load(std::memory_order_relaxed) || d.send_due_ns.load(std::memory_order_relaxed) || has_gap(d.gap_out);
  if (!possible || closes_by_itself(d)) return false;
  const std::uint64_t now = sys::now_ns();
  return output_held_until(d, now) || send_held_until(d, now);
}

std::uint64_t total_of(const iovec* iov, std::size_t n) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < n && i < 1024; ++i) bytes += iov[i].iov_len;
  return bytes;
}

std::uint64_t asked_bytes(const call& c) {
  if (c.size) return *c.size;
  if (c.iov) return total_of(*c.iov, static_cast<std::size_t>(*c.iov_count > 0 ? *c.iov_count : 0));
  if (c.msg_in) return total_of((*c.msg_in)->msg_iov, (*c.msg_in)->msg_iovlen);
  if (c.msg_out) return total_of((*c.msg_out)->msg_iov, (*c.msg_out)->msg_iovlen);
  return 0;
}

// The first `cap` bytes of a vector, in the frame's own. Legal: a short read or write.
int cut(frame& f, const iovec* iov, std::size_t n, std::uint64_t cap) {
  int used = 0;
  for (std::size_t i = 0; i < n && used < static_cast<int>(iov_max) && cap; ++i) {
    if (!iov[i].iov_len) continue;
    f.iov[used] = iov[i];
    if (f.iov[used].iov_len > cap) f.iov[used].iov_len = cap;
    cap -= f.iov[used++].iov_len;
  }
  return used;
}

}  // namespace

void stand_in(frame& f, const msghdr* asked) {
  if (!f.asked_msg) {
    f.asked_msg = const_cast<msghdr*>(asked);
    f.msg = *asked;
  }
  if (f.c.msg_in) *f.c.msg_in = &f.msg;
  if (f.c.msg_out) *f.c.msg_out = &f.msg;
}

void limit_to(frame& f, std::uint64_t cap) {
  if (cap >= f.moves) return;
  f.capped = true;
  f.moves = cap;
  if (f.c.size) {
    *f.c.size = cap;
  } else if (f.c.iov) {
    *f.c.iov_count = cut(f, *f.c.iov, static_cast<std::size_t>(*f.c.iov_count), cap);
    *f.c.iov = f.iov;
  } else if (f.c.msg_in || f.c.msg_out) {
    const msghdr* m = f.c.msg_in ? *f.c.msg_in : *f.c.msg_out;
    const int n = cut(f, m->msg_iov, m->msg_iovlen, cap);
    stand_in(f, m);
    f.msg.msg_iov = f.iov;
    f.msg.msg_iovlen = static_cast<std::size_t>(n);
  }
}

// Receive or send time-out of the socket as a deadline; ~0: none.
std::uint64_t deadline_of(int fd, int option, std::uint64_t now) {
  timeval t{};
  socklen_t n = sizeof t;
  if (sys::get_option(fd, SOL_SOCKET, option, &t, &n) != 0 || (t.tv_sec == 0 && t.tv_usec == 0)) return ~std::uint64_t{0};
  return now + static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_usec) * 1000;
}

namespace {
std::uint64_t least(std::uint64_t a, std::uint64_t b) { return a < b ? a : b; }

}  // namespace

// A blocking reader sleeps until something happens to the queue, the due time, or a slice has passed; 0, or EINTR.
int wait_for_input(descriptor& d, int fd, const due& q, std::uint64_t until) {
  const std::uint64_t now = sys::now_ns();
  const bool held = q.next_ns != 0;
  if (held && until <= now + spin_ns) { spin_until(until); return 0; }
  if (held) {
    raise_threshold(d, fd);
    until = least(until - spin_ns, now + (d.kind == descriptor_kind::tcp && !d.listening ? slice_ns : slice_ns / 5));
  }
  pollfd p{fd, POLLIN, 0};
  const timespec rest = sys::span(until > now ? until - now : 0);
  precise_timer precise;
  // What lies at its end (FIN) or can not be quietened is waited out by the clock alone.
  const timespec none{0, 0};
  const bool noisy = held && sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) > 0;
  int result = 0;
  if (noisy) {
    if (hold_until(until, 0) == waited::interrupted) result = EINTR;
  } else {
    const int r = real.ppoll(&p, 1, until == ~std::uint64_t{0} ? nullptr : &rest, nullptr);
    if (r < 0 && errno == EINTR && !restarts_after_signal()) result = EINTR;
  }
  precise.restore();
  if (held) restore_threshold(d, fd);
  return result;
}

namespace {

// These bytes are due and too few; the rest has not come. 0, or EINTR.
int wait_for_more_than(descriptor& d, int fd, std::uint64_t bytes, std::uint64_t deadline) {
  if (d.kind != descriptor_kind::tcp)  // nothing to quieten the kernel with
    return hold_until(least(deadline, sys::now_ns() + slice_ns / 5), 0) == waited::interrupted ? EINTR : 0;
  wait_beyond(d, fd, static_cast<unsigned>(bytes));
  const int error = wait_for_input(d, fd, due{}, deadline);
  restore_threshold(d, fd);
  return error;
}

// Input passes here when a rule delays arrivals: what is not due does not exist yet.
road pass_gate(frame& f, int fd, bool datagrams) {
  descriptor& d = *f.d;
  const std::uint64_t deadline = nonblocking(f) ? 0 : deadline_of(fd, SO_RCVTIMEO, sys::now_ns());
  // What the call does not return without: all of it (a recv of all goes on piece by piece), or what SO_RCVLOWAT says.
  const bool all = f.c.flags && (*f.c.flags & MSG_WAITALL) && (!f.c.size || f.peeks);
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
      if (!q.next_ns) return road::go;  // nothing is there: the kernel says so itself
      refire(fd);
      f.error = EAGAIN;
      return road::fail;
    }
    const std::uint64_t now = sys::now_ns();
    if (now >= deadline) f.error = EAGAIN;
    else if (q.bytes && !q.next_ns) f.error = wait_for_more_than(d, fd, q.bytes, deadline);
    else f.error = wait_for_input(d, fd, q, least(q.next_ns ? q.next_ns : ~std::uint64_t{0}, deadline));
    if (!f.error) continue;
    if (!q.bytes) return road::fail;
    f.error = 0;
    return take_due(q);  // as the kernel does: what it has by then
  }
}

// A corrupted send goes out of a copy: the caller's buffer is never written.
bool copy_out(frame& f) {
  if (!f.c.out && !f.c.iov && !f.c.msg_out) return false;  // stdio and the kernel's own transfers have their bytes elsewhere
  const std::uint64_t n = least(f.moves, copy_max);
  if (!n || !(f.copy = sys::pages(n))) return false;
  f.copy_bytes = n;
  auto* to = static_cast<unsigned char*>(f.copy);
  if (f.c.out) {
    memcpy(to, *f.c.out, n);
    *f.c.out = f.copy;
    *f.c.size = n;
  } else {
    const bool message = f.c.msg_out != nullptr;
    const iovec* iov = message ? (*f.c.msg_out)->msg_iov : *f.c.iov;
    const std::size_t count = message ? (*f.c.msg_out)->msg_iovlen : static_cast<std::size_t>(*f.c.iov_count);
    std::uint64_t done = 0;
    for (std::size_t i = 0; i < count && done < n; ++i) {
      const std::uint64_t part = least(iov[i].iov_len, n - done);
      memcpy(to + done, iov[i].iov_base, part);
      done += part;
    }
    f.iov[0] = {f.copy, n};
    if (message) {
      stand_in(f, *f.c.msg_out);
      f.msg.msg_iov = f.iov;
      f.msg.msg_iovlen = 1;
    } else {
      *f.c.iov = f.iov;
      *f.c.iov_count = 1;
    }
  }
  f.moves = n;
  const bool stream = f.acts_as == cls::stream_out;
  const std::uint64_t offset = stream ? f.d->out_bytes.load(std::memory_order_relaxed) : 0;
  for (unsigned i = 0; i < f.made.judged.count; ++i)
    if (f.made.judged.fired[i].rule->kind == abi::effect::corrupt && !f.made.judged.fired[i].rule->dry_run)
      effects::corrupt::flip(f.made.judged.fired[i], stream, offset, to, n);
  return true;
}

// The bytes do not come into the program: thrown away (MSG_TRUNC of a stream), or moved by the kernel.
bool lands_nowhere(const frame& f) {
  if ((f.acts_as & cls::stream_in) && f.c.flags && (*f.c.flags & MSG_TRUNC)) return true;
  return !f.c.in && !f.c.iov && !f.c.msg_in;
}

void corrupt_in(frame& f, std::uint64_t n) {
  const bool stream = f.acts_as == cls::stream_in;
  const std::uint64_t offset = stream ? f.d->in_bytes.load(std::memory_order_relaxed) : 0;
  for (unsigned i = 0; i < f.made.judged.count; ++i) {
    const core::fired_rule& rule = f.made.judged.fired[i];
    if (rule.rule->kind != abi::effect::corrupt || rule.rule->dry_run) continue;
    std::uint64_t done = 0;
    const auto part = [&](void* p, std::uint64_t room) {
      const std::uint64_t here = least(room, n - done);
      effects::corrupt::flip(rule, stream, offset + done, static_cast<unsigned char*>(p), here);
      done += here;
    };
    if (f.c.in) { part(*f.c.in, n); continue; }
    const iovec* iov = f.c.iov ? *f.c.iov : f.c.msg_in ? (*f.c.msg_in)->msg_iov : nullptr;
    const std::size_t count = f.c.iov ? static_cast<std::size_t>(*f.c.iov_count) : f.c.msg_in ? (*f.c.msg_in)->msg_iovlen : 0;
    for (std::size_t k = 0; iov && k < count && done < n; ++k) part(iov[k].iov_base, iov[k].iov_len);
  }
}

void report_here(frame& f, std::uint64_t bytes, std::uint8_t flags = 0) {
  if (!f.made.judged.count) return;
  char room[sizeof abi::event::text];
  const char* text = "";
  std::uint32_t connection = 0;
  std::uint8_t address[16];
  std::uint16_t port = 0;
  if (f.d && f.d->per_call && parse_address(f.c.to ? f.c.to : f.c.from, f.c.to ? f.c.to_len : f.c.from && f.c.from_len ? *f.c.from_len : 0, address, port))
    text = room, describe_address(address, port, room, sizeof room);
  else if (f.d) text = describe(*f.d, f.c.fd, room, sizeof room);
  else if (f.c.path) text = f.c.path;
  if (f.http) {
    if (text != room) strncpy(room, text, sizeof room - 1)[sizeof room - 1] = 0;
    text = room;
    http_describe(*f.d, f.acts_as & in_data ? core::http::way::in : core::http::way::out, room, sizeof room);
  }
  if (f.d) connection = f.d->ordinal;
  report_fired(f.made, text, connection, bytes, f.caller, flags);
}

// A fault that came to nothing (nothing was read, so nothing was corrupted or cut): it did not happen.
void take_back(frame& f, core::effect_set kinds) {
  unsigned kept = 0;
  for (unsigned i = 0; i < f.made.judged.count; ++i) {
    const core::fired_rule& r = f.made.judged.fired[i];
    if (core::of(r.rule->kind) & kinds) r.state->fired.fetch_sub(1, std::memory_order_relaxed);
    else f.made.judged.fired[kept++] = r;
  }
  f.made.judged.count = kept;
}

// The end of a connection that chaosd brings about later. False: nobody can, it comes now.
bool hand_over(frame& f, std::uint64_t delay) {
  const descriptor& d = *f.d;
  if ((d.kind != descriptor_kind::tcp && d.kind != descriptor_kind::unix_stream) || d.listening || f.c.how == SHUT_RD) return false;
  for (unsigned i = 0; i < f.made.judged.count; ++i)
    if (f.made.judged.fired[i].rule->kind == abi::effect::slow_close)
      return close_later(f.c.fd, f.made.judged.fired[i].rule->id, f.made.now_ns + delay, f.c.how);
  return false;
}

// Waits where the caller asked to block; elsewhere the delay is owed by the connection's next arrival.
bool serve_delay(frame& f) {
  const std::uint64_t delay = f.made.verdict.delay_ns;
  if (!delay) return true;
  if ((f.acts_as & cls::close) && sys::is_nonblocking(f.c.fd)) {  // an event loop closes: it must not sleep
    f.handed_over = hand_over(f, delay);
    if (!f.handed_over) take_back(f, core::of(abi::effect::slow_close));
    return true;
  }
  if (nonblocking(f) && f.d && (f.d->role & cls::data)) {
    for (unsigned i = 0; i < f.made.judged.count; ++i)
      if (f.made.judged.fired[i].delay_ns) f.d->charge_rule.store(f.made.judged.fired[i].rule->id, std::memory_order_relaxed);
    f.d->charge_ns.fetch_add(delay, std::memory_order_relaxed);
    return true;
  }
  std::uint32_t rule = 0;
  for (unsigned i = 0; i < f.made.judged.count; ++i)
    if (f.made.judged.fired[i].delay_ns) rule = f.made.judged.fired[i].rule->id;
  const std::uint64_t due = f.made.now_ns + delay, deadline = f.acts_as & out_data ? deadline_of(f.c.fd, SO_SNDTIMEO, f.made.now_ns) : ~std::uint64_t{0};
  const waited w = hold_until(least(due, deadline), rule);
  const bool too_late = w == waited::due && deadline < due;
  if (w != waited::due || too_late) {  // let go early: what is counted is what was really added
    const std::uint64_t really = sys::now_ns() - f.made.now_ns;
    for (unsigned i = 0; i < f.made.judged.count; ++i)
      f.made.judged.fired[i].delay_ns = least(f.made.judged.fired[i].delay_ns, really);
  }
  f.error = w == waited::interrupted ? EINTR : too_late ? EAGAIN : 0;
  return !f.error;
}

// How the call ends when a rule ends it. False: it goes on (late errors).
bool serve_ending(frame& f, road& way) {
  const effects::verdict& v = f.made.verdict;
  way = road::fail;
  f.error = v.error;
  switch (v.end) {
    case effects::ending::none: return false;
    case effects::ending::error:
      if (v.late || v.torn) { f.error = 0; return false; }
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
      sys::call(SYS_shutdown, f.c.fd, SHUT_RDWR);
      f.d->broken.store(true, std::memory_order_relaxed);
      f.error = 0;
      if (!(f.acts_as & in_data)) return false;  // the real call finds the end by itself: EPIPE, SIGPIPE
      f.result = 0;
      way = road::done;
      return true;
    case effects::ending::blackhole: {
      const std::uint32_t ender = v.ender->rule->id;
      black_hole(*f.d, ender, v.until_ns);
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
        sys::call(SYS_shutdown, f.c.fd, SHUT_RDWR);
        f.d->broken.store(true, std::memory_order_relaxed);
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
  }
  return false;
}

// Bytes by which a write would make its file longer: what a disk has to find room for.
std::uint64_t growth(const frame& f) {
  if (!(f.acts_as & cls::file_io) || !f.d || f.d->kind != descriptor_kind::file) return 0;
  const bool resizes = f.function == abi::function_id::ftruncate || f.function == abi::function_id::ftruncate64 ||
                       f.function == abi::function_id::fallocate || f.function == abi::function_id::fallocate64 ||
                       f.function == abi::function_id::posix_fallocate || f.function == abi::function_id::posix_fallocate64;
  const bool writes = f.c.out || f.c.msg_out || f.c.end_of_transfer == transfer_end::sink || f.c.stream ||
                      (f.c.iov && (abi::function_table[static_cast<unsigned>(f.function)].classes & out_data)) || f.c.end >= 0;
  if (!writes && !resizes) return 0;
  const long size = sys::session_files::size(f.c.fd);
  if (size < 0) return 0;
  long end = f.c.end;
  if (end < 0) {
    const bool appends = sys::status_flags(f.c.fd) & O_APPEND;
    const long at = f.c.at >= 0 ? f.c.at : appends ? size : sys::call(SYS_lseek, f.c.fd, 0, SEEK_CUR);
    end = (at < 0 ? size : at) + static_cast<long>(f.moves + f.pending);
  }
  return end > size ? static_cast<std::uint64_t>(end - size) : 0;
}

// The limit of a connection was reached by this very call: it ends now, not when somebody calls again.
void end_at_limit(frame& f) {
  const effects::verdict& v = f.made.verdict;
  sys::call(SYS_shutdown, f.c.fd, SHUT_RDWR);
  f.d->broken.store(true, std::memory_order_relaxed);
  v.limiter_state->fired.fetch_add(1, std::memory_order_relaxed);
  if (f.made.judged.count < core::fired_max) f.made.judged.fired[f.made.judged.count++] = {v.limiter, v.limiter_state, {}, v.limiter_state->operations.load(std::memory_order_relaxed), 0, 0};
}

bool full_disk_among(const rule_view& v, const std::uint64_t (&mask)[4]) {
  for (unsigned w = 0; w < 4; ++w)
    for (std::uint64_t bits = mask[w] & v.mask[w]; bits; bits &= bits - 1)
      if (v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))].kind == abi::effect::full) return true;
  return false;
}

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
  core::facts_of_call facts{.function = f.function, .acts_as = f.acts_as, .kinds = kinds, .size = f.moves, .bytes = bytes};
  if (f.asked.answer == quick_answer::said::yes) {
    f.asked.answer = quick_answer::said::nothing;
    if (f.asked.generation == f.view->generation.load(std::memory_order_relaxed)) facts.operation = f.asked.operation;
    else take_back(f.asked);
  }
  if ((f.acts_as & (cls::file_io | cls::sync)) && full_disk_among(*f.view, mask)) facts.grows = growth(f);
  decide(facts, mask, f.d, *f.view, f.caller, f.made);
}

// A relative path as rules see it: absolute, from the folder that it is relative to.
void absolute_path(const call& c, char* out, std::size_t room) {
  std::size_t n = 0;
  long got = -1;
  if (c.dir == AT_FDCWD) got = sys::call(SYS_getcwd, out, room) - 1;
  else {
    abi::path_buffer link;
    link.add("/proc/self/fd/").add(static_cast<std::uint64_t>(c.dir));
    got = sys::read_link(link.text, out, room - 2);
  }
  if (got > 0) n = static_cast<std::size_t>(got);
  const char* p = c.path;
  while (p[0] == '.' && p[1] == '/') p += 2;
  if (n == 0 || out[n - 1] != '/') out[n++] = '/';
  for (; *p && n + 1 < room; ++p) out[n++] = *p;
  out[n] = 0;
}

void end_if_crashing(frame& f) {
  if (f.made.verdict.end != effects::ending::crash) return;
  report_here(f, 0);
  end_process(f.made);
}

// Upstream bandwidth: asleep where the caller asked to block; else as much as may go now, or EAGAIN and no readiness.
bool send_through_bucket(frame& f) {
  const abi::rule& r = *f.made.verdict.bandwidth->rule;
  const std::uint64_t rate = r.bytes ? r.bytes : 1, now = f.made.now_ns;
  std::atomic<std::uint64_t>* shared = shared_bucket(r);
  std::atomic<std::uint64_t>& bucket = shared ? *shared : f.d->send_empty_ns;
  begin_empty(bucket, now);
  const bool datagram = f.acts_as & cls::datagram_out;
  if (!nonblocking(f)) {
    const std::uint64_t deadline = deadline_of(f.c.fd, SO_SNDTIMEO, now);
    const bool in_time = through_bucket(bucket, f.moves, rate, now, false) <= deadline;
    const waited w = hold_until(in_time ? through_bucket(bucket, f.moves, rate, now, true) : deadline, r.id);
    f.error = w == waited::interrupted ? EINTR : w == waited::due && !in_time ? EAGAIN : 0;
    return !f.error;
  }
  std::uint64_t piece = effects::bandwidth::bytes_in(effects::bandwidth::piece_ns, rate) + 1;
  if (piece > f.moves || datagram) piece = f.moves;
  const std::uint64_t through = through_bucket(bucket, piece, rate, now, false);
  if (through > now) {
    f.d->send_due_ns.store(through, std::memory_order_relaxed);
    refire(f.c.fd);
    f.error = EAGAIN;
    return false;
  }
  std::uint64_t more = piece + effects::bandwidth::bytes_in(now - through, rate);
  if (more > f.moves || datagram) more = f.moves;
  through_bucket(bucket, more, rate, now, true);
  if (more < f.made.verdict.cap) f.made.verdict.cap = more;
  return true;
}

// Between two slices that are sent: asleep, as the caller asked to block.
bool wait_out_gap(frame& f) {
  const std::uint64_t now = sys::now_ns(), due = gap_until(f.d->gap_out, now), deadline = deadline_of(f.c.fd, SO_SNDTIMEO, now);
  if (!due) return true;
  const waited w = hold_until(least(due, deadline), f.d->gap_out.rule.load(std::memory_order_relaxed));
  gap_until(f.d->gap_out, sys::now_ns());
  f.error = w == waited::interrupted ? EINTR : w == waited::due && deadline < due ? EAGAIN : 0;
  return !f.error;
}

// The slicers among the rules were what held this slice back.
void tell_gap(frame& f, std::uint64_t held) {
  for (unsigned i = 0; i < f.made.judged.count; ++i) {
    core::fired_rule& r = f.made.judged.fired[i];
    if (r.rule->kind != abi::effect::slicer || r.rule->dry_run) continue;
    r.delay_ns = least(held, r.rule->delay_ns);
    held -= r.delay_ns;
  }
}

// The slice has moved: the gap behind it begins.
void begin_gap_here(frame& f, bool input) {
  for (unsigned i = 0; i < f.made.judged.count; ++i)
    if (f.made.judged.fired[i].rule->kind == abi::effect::slicer)
      return begin_gap(input ? f.d->gap_in : f.d->gap_out, sys::now_ns() + f.made.verdict.gap_ns, f.made.judged.fired[i].rule->id);
}

road enter_path(frame& f) {
  f.acts_as &= cls::file_open;
  if (!(f.view->asked & f.acts_as)) return road::pass;
  char path[1024];
  core::endpoint e;
  e.file_path = f.c.path;
  if (f.c.path[0] != '/') {
    absolute_path(f.c, path, sizeof path);
    e.file_path = path;
  }
  std::uint64_t mask[4];
  match_endpoint(*f.view, e, mask);
  decide({.function = f.function, .acts_as = f.acts_as}, mask, nullptr, *f.view, f.caller, f.made);
  if (!f.made.judged.count) return road::go;
  if (!serve_pause(f.made, f.error) || !serve_delay(f)) { report_here(f, 0); return road::fail; }
  end_if_crashing(f);
  road way;
  if (serve_ending(f, way)) { report_here(f, 0); return way; }
  return road::go;
}

// A stream of stdio that has what the call asks for, or is asked by one that takes what there is.
bool served_from_buffer(const frame& f) {
  using enum abi::function_id;
  if (!f.c.stream) return false;
  const std::size_t there = static_cast<std::size_t>(f.c.stream->_IO_read_end - f.c.stream->_IO_read_ptr);
  switch (f.function) {
    case fgets: case __fgets_chk: case fgets_unlocked: case __fgets_unlocked_chk: case getline:
      return there && memchr(f.c.stream->_IO_read_ptr, '\n', there);
    default: return there != 0;
  }
}

// What a program asks a stream of stdio afterwards: a fault is an error, and the end of the connection is found by libc itself.
road as_stdio(frame& f, road way) {
  if (way == road::fail && f.function != abi::function_id::fclose) f.c.stream->_flags |= stdio_error;
  if (way == road::done && f.result == 0 && (f.acts_as & in_data)) return road::go;
  return way;
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
  if (!f.gathered) f.wanted = f.moves;
  if (input && f.d->broken.load(std::memory_order_relaxed)) { f.result = 0; return road::done; }

  if (input && gates(*f.d, *f.view) && !served_from_buffer(f)) {
    const road way = pass_gate(f, fd, f.acts_as & cls::datagram_in);
    if (way != road::go) return way;
  }
  if (output && sending_is_held(*f.d) && nonblocking(f)) {
    refire(fd);
    f.error = EAGAIN;
    return road::fail;
  }
  if (output && has_gap(f.d->gap_out) && !wait_out_gap(f)) return road::fail;
  road way;
  if ((f.acts_as & cls::datagram_in) && datagram_waits(f.d) && reorder_enter(f, way)) return way;
  if ((f.acts_as & cls::datagram_in) && !f.peeks && take_twice(*f.d)) return receive_and_keep(f);  // and the next receive finds it again
  if (f.d->http_rules && (f.acts_as & cls::streams) && f.c.end_of_transfer != transfer_end::source && !http_enter(f, way)) return way;
  decide_here(f, f.moves, !input ? ~core::effect_set{0} : f.acts_as & cls::datagram_in ? ~core::datagram_arrival_effects : ~core::arrival_effects);
  if (f.http && f.made.judged.matched) http_decided(*f.d, input ? core::http::way::in : core::http::way::out);
  const effects::verdict& what = f.made.verdict;
  if (!f.made.judged.count && what.cap == UINT64_MAX) return road::go;
  if (input && nothing_to_read(f)) {  // a decision is about something that is there: polling must not use it up
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
  if (f.made.verdict.corrupting && (output || (f.acts_as & cls::file_io && (f.c.out || f.c.msg_out))) && !copy_out(f)) take_back(f, core::of(abi::effect::corrupt));
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
  if (f.c.stream) {
    f.c.fd = fileno(f.c.stream);
    if (f.function == abi::function_id::fclose || f.function == abi::function_id::fflush) f.pending = __fpending(f.c.stream);
  }
  if (!f.view) {
    if ((row & cls::datagram_in) && f.c.fd >= 0 && static_cast<unsigned>(f.c.fd) < descriptor_count &&
        datagram_waits(f.d = &descriptor_table[f.c.fd])) {  // its rule has gone
      f.peeks = f.c.flags && (*f.c.flags & MSG_PEEK);
      f.d->line.load(std::memory_order_relaxed)->overtakers_left = 0;
      if (road way; reorder_enter(f, way)) return way;
    }
    if ((row & abi::classes::close) && f.c.fd >= 0 && f.function != abi::function_id::shutdown) forget(f.c.fd);
    else if (f.c.fd >= 0 && moves_over_one(f.function)) nothing_concerns(f.c.fd);
    return road::pass;
  }
  wait_with_the_others();
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

road enter(frame& f) {
  f.once_more = f.capped = f.peeks = f.twice = f.http = f.handed_over = false;
  f.due_bytes = UINT64_MAX;
  f.nonblocking_ = -1;
  f.error = 0;
  f.d = nullptr;
  f.copy = nullptr;
  f.asked_msg = nullptr;
  f.moves = f.pending = 0;
  f.made.judged.count = f.made.judged.matched = 0;
  f.made.verdict = effects::no_verdict;
  if (inside()) return road::pass;
  inside_scope work;
  road way = enter_inside(f);
  if (f.c.stream && !f.c.path) way = as_stdio(f, way);
  if (f.asked.answer == quick_answer::said::yes) take_back(f.asked);  // it never came to the question
  f.asked.answer = quick_answer::said::nothing;
  work.end();
  return way;
}

long leave(frame& f, long result, int& error) {
  inside_scope work;
  if (f.http && result > 0 && !f.peeks) http_leave(f, static_cast<std::uint64_t>(result));
  if (f.copy) sys::unmap(f.copy, f.copy_bytes);
  if (f.asked_msg) {  // give back what the kernel wrote beside the data
    if (f.c.msg_in) {
      f.asked_msg->msg_namelen = f.msg.msg_namelen;
      f.asked_msg->msg_controllen = f.msg.msg_controllen;
      f.asked_msg->msg_flags = f.msg.msg_flags;
    }
  }
  const bool input = f.acts_as & in_data, output = f.acts_as & out_data;
  const std::uint64_t moved = result > 0 && f.moves ? static_cast<std::uint64_t>(result) : 0;
  if (input && result < 0 && error == EAGAIN) undecide(f.made);
  if (f.d && input && moved) {
    if (f.made.verdict.corrupting) {
      if (lands_nowhere(f)) take_back(f, core::of(abi::effect::corrupt));
      else corrupt_in(f, least(moved, f.moves));
    }
    if (!f.peeks) consumed(*f.d, moved);
  } else if (f.d && (f.acts_as & cls::file_io) && f.made.verdict.corrupting && !f.c.out && !f.c.msg_out) {
    if (lands_nowhere(f)) take_back(f, core::of(abi::effect::corrupt));
    else if (moved) corrupt_in(f, least(moved, f.moves));
  }
  if (f.d && input && f.c.stream) consumed_unseen(*f.d, f.c.fd);
  if (f.d && output && moved) owner_window(*f.d).add(f.d->out_bytes, moved);
  if (f.d && f.made.verdict.limiter && moved >= f.made.verdict.limit && !f.peeks) end_at_limit(f);
  if (input && !moved && f.made.judged.count) take_back(f, core::of(abi::effect::corrupt) | core::of(abi::effect::slicer));
  if (f.asked_msg) {
    if (f.c.msg_in) *f.c.msg_in = f.asked_msg;
    if (f.c.msg_out) *f.c.msg_out = f.asked_msg;
  }
  if (f.made.verdict.gap_ns && moved && !f.peeks) begin_gap_here(f, input);
  count_bytes(f.made.judged, moved);
  report_here(f, moved);
  if (f.made.verdict.end == effects::ending::error && (f.made.verdict.late || f.made.verdict.torn) && result >= 0) {
    f.error = f.made.verdict.error;
    if (f.c.stream && !f.c.path) as_stdio(f, road::fail);
  }
  // A short read or write of ours must not look like an empty queue, or a full one, to who trusts edges.
  if ((input || output) && f.capped && nonblocking(f) && moved) refire(f.c.fd);
  if (output && f.gathered && moved) f.gathered += moved;
  const bool pieces = f.capped || f.gathered;
  if (input && !nonblocking(f) && pieces && moved && f.c.flags && (*f.c.flags & MSG_WAITALL) && f.c.in && f.c.size && !f.peeks) {
    // The program asked for all of it: go on where this piece ended.
    *f.c.in = static_cast<char*>(*f.c.in) + moved;
    f.gathered += moved;
    *f.c.size = f.wanted - f.gathered;
    f.once_more = f.capped && *f.c.size > 0;
  }
  if (!f.once_more && f.gathered) {
    result = static_cast<long>(f.gathered);
    error = 0;
  }
  work.end();
  return result;
}

}  // namespace chaos::hooks
