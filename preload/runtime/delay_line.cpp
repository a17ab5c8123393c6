#include "delay_line.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "accept_gate.hpp"
#include "bucket.hpp"
#include "connection.hpp"
#include "datagram_line.hpp"
#include "decide.hpp"
#include "ending.hpp"
#include "http.hpp"
#include "output_hold.hpp"
#include "owner.hpp"
#include "pool.hpp"
#include "reorder.hpp"
#include "slice_gap.hpp"
#include "preload/effects/compose.hpp"

namespace chaos {
namespace {

constexpr std::uint32_t step_max = 64 * 1024;        // bytes between two looks at a flood
constinit pool<delay_line, 16 * 1024> lines;

delay_line* take_line() {
  delay_line* const l = lines.take();
  if (!l) return nullptr;
  l->epoch = 0;
  l->consumed = l->seen = l->latest_due_ns = l->last_arrival_ns = l->held_since_ns = 0;
  l->first = l->count = l->step = l->blackhole_rule = l->send_rule = l->head_rule = l->overtake_rule = 0;
  l->blackhole_until_ns = 0;
  for (std::uint32_t& rule : l->holders) rule = 0;
  for (delay_line::bucket& b : l->buckets) b = {};
  l->end = {};
  l->owed.count = l->held.count = 0;
  l->blackhole_classes = 0;
  l->ends_rule = l->end_asked = 0;
  l->ends_ns = 0;
  l->reset_owed = false;
  l->end_seen = l->head_judged = l->head_lost = l->head_twice = l->head_given = false;
  l->overtaken = nullptr;
  l->head_overtakers = l->overtakers_left = l->twice_owed = 0;
  l->stamped_since_ns = 0;
  l->threshold = l->own_threshold = 0;
  return l;
}

// What the kernel holds: bytes, and whether an end, error or hang-up stands behind them.
struct queue {
  std::uint64_t bytes;
  bool end;
  bool empty;  // nothing of either, when it was looked at
  bool reset;  // the look took an ECONNRESET away
};
queue queued(const descriptor& d, int fd, bool expected = false) {
  // The poll first: what is readable then is still counted after it. The other way round a byte that comes in between
  // would make a stream "readable without bytes", which is what its end looks like.
  pollfd p{fd, POLLIN | POLLRDHUP, 0};
  const timespec none{0, 0};
  const long ready = sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8);
  int n = 0;
  const unsigned long request = d.kind == descriptor_kind::tcp ? SIOCINQ : FIONREAD;
  if (sys::control(fd, request, &n) != 0 || n < 0) n = 0;
  // SIOCINQ counts no further than an urgent byte, which a read passes over. An error that is pending would be told to us.
  long behind = 0;
  if (d.kind == descriptor_kind::tcp && n == 0 && (expected || (ready > 0 && (p.revents & POLLIN))) && !(p.revents & POLLERR))
    behind = sys::call(SYS_recvfrom, fd, nullptr, std::size_t{1} << 30, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT, nullptr, nullptr);
  if (behind > 0) n = static_cast<int>(behind);
  const bool hup = ready > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
  // Streams of sockets say so themselves, and another thread may have read between the two questions.
  const bool says_so = d.kind == descriptor_kind::tcp || d.kind == descriptor_kind::unix_stream || d.kind == descriptor_kind::udp;
  const bool empty_but_readable = ready > 0 && (p.revents & POLLIN) && n == 0 && !says_so;
  return {static_cast<std::uint64_t>(n), hup || empty_but_readable, ready == 0 && n == 0, behind == -ECONNRESET};
}

// Delays for what just arrived, by the rules in force; reports each injection.
void judge_arrival(descriptor& d, int fd, delay_line& line, const rule_view& v, abi::function_id function,
                   const void* caller, const std::uint64_t (&mask)[4], std::uint64_t bytes, std::uint64_t now_ns, shares& held) {
  const abi::class_set side = (d.role & abi::classes::datagrams) ? abi::classes::datagram_in : abi::classes::stream_in;
  decision made;
  decide({.function = function, .acts_as = side, .kinds = core::arrival_effects, .size = bytes, .bytes = bytes, .now_ns = now_ns}, mask, &d, v,
         caller, made);
  add_shares(held, made.judged);
  for (unsigned i = 0; made.verdict.bandwidth && i < made.judged.count; ++i)
    if (const core::fired_rule& f = made.judged.fired[i]; f.kind == abi::effect::bandwidth && !f.dry_run) bucket_of(line, f, now_ns);
  report_fired(made, d, fd, bytes, caller, abi::event_flags::gated);
  count_bytes(made.judged, bytes);
}

// The same where rules about HTTP messages are among them: for as many of the bytes as belong to one message.
void judge_message(descriptor& d, int fd, delay_line& line, const rule_view& v, abi::function_id function, const void* caller,
                   std::uint64_t& bytes, std::uint64_t now_ns, shares& held) {
  const http_portion p = http_arrival(d, fd, v, line.seen - line.consumed, bytes);
  bytes = p.bytes;
  judge_arrival(d, fd, line, v, function, caller, p.plain, bytes, now_ns, held);
  if (!(p.message[0] | p.message[1] | p.message[2] | p.message[3])) return held.add_all(p.held);
  shares own;
  judge_arrival(d, fd, line, v, function, caller, p.message, bytes, now_ns, own);
  if (own.count && !p.ends) http_arrival_delayed(d, own);
  held.add_all(own);
}

// The end of the stream, when no byte came with it: no message's.
void judge_end(descriptor& d, int fd, delay_line& line, const rule_view& v, abi::function_id function, const void* caller, std::uint64_t now_ns, shares& held) {
  std::uint64_t plain[4];
  for (unsigned i = 0; i < 4; ++i) plain[i] = d.mask[i];
  const unsigned n = v.bank->count < abi::rule_max ? v.bank->count : abi::rule_max;
  for (unsigned i = 0; i < n; ++i)  // those with --on: nobody knows yet which function is going to read
    if (!v.bank->rules[i].functions.empty()) plain[i / 64] &= ~(std::uint64_t{1} << (i % 64));
  if (d.http_rules) http_filter_out(v, plain);
  judge_arrival(d, fd, line, v, function, caller, plain, 0, now_ns, held);
}

delay_line::stamp& stamp_at(delay_line& line, unsigned i) { return line.stamps[(line.first + i) % delay_line::stamps_max]; }

unsigned holder_of(delay_line& line, std::uint32_t rule) {
  for (unsigned k = 0; k < delay_line::holders_max; ++k)
    if (line.holders[k] == rule) return k;
  unsigned k = 0;
  while (k + 1 < delay_line::holders_max && line.holders[k]) ++k;
  line.holders[k] = rule;
  return k;
}

delay_line::timing timing_of(delay_line& line, std::uint64_t now_ns, const shares& held) {
  if (line.latest_due_ns <= now_ns)
    for (std::uint32_t& rule : line.holders) rule = 0;  // they hold nothing any more
  delay_line::timing t{now_ns + held.total(), {}};
  for (unsigned i = 0; i < held.count; ++i) {
    std::uint32_t& us = t.share_us[holder_of(line, held.each[i].rule)];
    const std::uint64_t more = us + held.each[i].delay_ns / 1000;
    us = more < UINT32_MAX ? static_cast<std::uint32_t>(more) : UINT32_MAX;
  }
  return t;
}

void push(delay_line& line, std::uint64_t upto, std::uint64_t now_ns, const shares& held) {
  const delay_line::timing when = timing_of(line, now_ns, held);
  if (when.due_ns > line.latest_due_ns) line.latest_due_ns = when.due_ns;
  if (line.count == delay_line::stamps_max) {  // full: the newest two become one, due when the later is
    delay_line::stamp& newest = stamp_at(line, line.count - 1);
    if (when.due_ns > newest.when.due_ns) newest.when = when;
    newest.upto = upto;
    return;
  }
  stamp_at(line, line.count++) = {upto, when};
}

// The end travels behind the last byte: it is held as the byte that is due last.
delay_line::timing timing_of_last(delay_line& line) {
  delay_line::timing last = line.stamps[line.first].when;
  for (unsigned i = 1; i < line.count; ++i)
    if (const delay_line::timing& t = stamp_at(line, i).when; t.due_ns > last.due_ns) last = t;
  return last;
}

void take_share(delay_line::timing& t, unsigned k) {
  const std::uint64_t share = t.share_us[k] == UINT32_MAX ? t.due_ns : std::uint64_t{t.share_us[k]} * 1000;  // of more than an hour: all
  t.due_ns -= share < t.due_ns ? share : t.due_ns;
  t.share_us[k] = 0;
}

// What a rule held that is not in force any more, or all of them since the lease has lapsed, it holds no longer.
void lift_what_ended(delay_line& line, std::uint64_t now_ns) {
  for (unsigned k = 0; k < delay_line::holders_max; ++k) {
    if (!line.holders[k] || rule_in_force(line.holders[k], now_ns)) continue;
    line.holders[k] = 0;
    for (unsigned i = 0; i < line.count; ++i) take_share(stamp_at(line, i).when, k);
    take_share(line.end, k);
    line.latest_due_ns = line.count ? timing_of_last(line).due_ns : 0;
  }
}

bool any_holder_in_force(const delay_line& line, std::uint64_t now_ns) {
  for (const std::uint32_t rule : line.holders)
    if (rule && rule_in_force(rule, now_ns)) return true;
  for (const delay_line::bucket& b : line.buckets)
    if (b.rule && rule_in_force(b.rule, now_ns)) return true;
  return (line.head_rule && rule_in_force(line.head_rule, now_ns)) || line.held.in_force(now_ns) != 0;
}

}  // namespace

delay_line* line_of(descriptor& d) {
  delay_line* line = d.line.load(std::memory_order_acquire);
  if (!line && (line = take_line())) d.line.store(line, std::memory_order_release);
  return line;
}

void release_line(delay_line* line) {
  if (line->overtaken) drop_overtaken(line->overtaken);
  lines.give_back(*line);
}

namespace {
bool may_stand_still(const descriptor& d, const rule_view& v) {
  if (!(d.role & abi::classes::stream_in) || d.listening || !v.any_arrival) return false;
  const unsigned n = v.bank->count < abi::rule_max ? v.bank->count : abi::rule_max;
  for (unsigned i = 0; i < n; ++i) {
    const abi::rule& r = v.bank->rules[i];
    if ((d.mask[i / 64] >> (i % 64) & 1) && (core::of(r.kind) & core::standing_effects) && (r.classes & abi::classes::stream_in) && r.functions.empty()) return true;
  }
  return false;
}

void leave_those_that_end(const rule_view& v, std::uint64_t (&mask)[4]) {
  for (unsigned w = 0; w < 4; ++w)
    for (std::uint64_t bits = mask[w] &= v.mask[w]; bits; bits &= bits - 1)
      if (!core::ends_unasked(v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))])) mask[w] &= ~(bits & -bits);
}

}  // namespace

bool is_wait(abi::function_id f) { return abi::function_table[static_cast<unsigned>(f)].classes & abi::classes::readiness; }

// Something has arrived, and nobody has read it: a rule may have the stream stand still from here on, as the read would be told.
// Else a program that waits, and reads only then, would find nothing, or hang in a read that may block.
void ask_whether_it_stands(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller) {
  const std::uint64_t now = sys::now_ns();
  if (!may_stand_still(d, v) || in_black_hole(d, now)) return;
  const queue q = queued(d, fd);
  const bool silent = !q.bytes && !q.end;
  if (silent && (!may_end(d, v) || !connection_stands(d, fd))) return;
  std::uint64_t plain[4];
  for (unsigned i = 0; i < 4; ++i) plain[i] = d.mask[i];
  if (d.http_rules) http_filter_out(v, plain);
  if (silent) leave_those_that_end(v, plain);  // their time begins, whatever comes
  decision made;
  decide({.function = function, .acts_as = abi::classes::stream_in, .kinds = core::standing_effects, .size = q.bytes, .bytes = q.bytes, .now_ns = now},
         plain, &d, v, caller, made);
  const effects::verdict& what = made.verdict;
  if (what.end != effects::ending::blackhole) return undecide(made);  // not now, or a share only: the read decides
  if (!black_hole(d, *what.ender, what.until_ns)) return undecide(made);  // another thread was faster
  remember_held(fd);
  report_fired(made, d, fd, 0, caller, abi::event_flags::gated);
}

bool gates_any(const descriptor& d, const rule_view& v) {
  return may_stand_still(d, v) || may_end(d, v) || d.connect_due_ns.load(std::memory_order_relaxed) || d.send_due_ns.load(std::memory_order_relaxed) || has_gap(d.gap_out) || d.redirected.load(std::memory_order_relaxed) || gates(d, v);
}

namespace {
bool line_holds(const descriptor& d) {
  const delay_line* l = d.line.load(std::memory_order_relaxed);
  return (l && (l->count || l->end_seen || l->blackhole_rule || l->ends_rule || l->head_judged || l->overtaken)) || d.charge_ns.load(std::memory_order_relaxed);
}
}  // namespace

bool holds(const descriptor& d) {
  return d.listening || line_holds(d) || has_gap(d.gap_in) || has_gap(d.gap_out) || d.connect_due_ns.load(std::memory_order_relaxed) || d.send_due_ns.load(std::memory_order_relaxed) || d.redirected.load(std::memory_order_relaxed);
}

bool gates(const descriptor& d, const rule_view& v) {
  if (d.listening) return delays_accepts(d, v);
  if (!(d.role & (abi::classes::stream_in | abi::classes::datagram_in))) return false;
  if (line_holds(d) || has_gap(d.gap_in)) return true;
  if (!v.any_arrival) return false;
  const unsigned n = v.bank->count < abi::rule_max ? v.bank->count : abi::rule_max;
  for (unsigned i = 0; i < n; ++i)
    if ((d.mask[i / 64] >> (i % 64) & 1) && (core::of(v.bank->rules[i].kind) & (d.role & abi::classes::datagrams ? core::datagram_arrival_effects : core::arrival_effects)) &&
        (v.bank->rules[i].classes & (abi::classes::stream_in | abi::classes::datagram_in)))
      return true;
  return d.per_call && v.any_arrival;
}

void charge(descriptor& d, const core::judgement& judged) {
  if (!lock(d)) return;
  if (delay_line* const line = line_of(d)) {
    add_shares(line->owed, judged);
    d.charge_ns.store(line->owed.total(), std::memory_order_relaxed);  // its first lines tell that there is something
  }
  unlock(d);
}

void take_charge(descriptor& d, delay_line& line, std::uint64_t now_ns, shares& to) {
  if (!d.charge_ns.exchange(0, std::memory_order_relaxed)) return;
  line.owed.drop_ended(now_ns);
  to.add_all(line.owed);
  line.owed.count = 0;
}

delay_line::bucket* bucket_of(delay_line& line, const core::fired_rule& r, std::uint64_t now_ns) {
  delay_line::bucket* free = nullptr;
  for (delay_line::bucket& b : line.buckets) {
    if (b.rule == r.id) {
      b.rate = r.bytes ? r.bytes : 1;  // a ramp changes it
      return &b;
    }
    if (!free && (!b.rule || !rule_in_force(b.rule, now_ns))) free = &b;
  }
  if (!free) return nullptr;
  *free = {.rule = r.id, .rate = r.bytes ? r.bytes : 1, .empty_ns = now_ns, .shared = shared_bucket(r), .through_ns = 0};
  if (free->shared) begin_empty(*free->shared, now_ns);
  return free;
}

namespace {

// What was read while no rule was in force nobody has seen: what lies in the queue now may be anything, and is looked at anew.
void go_on(delay_line& line, const rule_view& v, std::uint64_t now) {
  if (line.epoch == v.epoch) return;
  if (line.epoch && !any_holder_in_force(line, now)) {
    line.consumed = line.seen = line.latest_due_ns = 0;
    line.held.count = 0;
    line.count = 0;
    line.end_seen = line.head_judged = line.head_lost = line.head_twice = false;
    line.head_overtakers = line.twice_owed = 0;
  }
  line.epoch = v.epoch;
}

// Nothing comes, until the rule goes or the connection closes.
bool stands_still(descriptor& d, int fd, delay_line& line, std::uint64_t now, due& out) {
  if (!rule_in_force(line.blackhole_rule, now)) {
    line.blackhole_rule = 0;
    return false;
  }
  if (!(line.blackhole_classes & abi::classes::stream_in)) return false;
  out.gated = out.blocked = true;
  out.next_ns = line.blackhole_until_ns ? line.blackhole_until_ns : now + 3'600'000'000'000;
  if (out.next_ns <= now) {  // its time is up: the connection closes
    line.blackhole_rule = 0;
    out.blocked = false;
    out.end = true;
    sys::call(SYS_shutdown, fd, SHUT_RDWR);
    d.broken.store(true, std::memory_order_relaxed);
  }
  return true;
}

void stamp_arrivals(descriptor& d, int fd, delay_line& line, const rule_view& v, abi::function_id function, const void* caller,
                    std::uint64_t total, std::uint64_t now) {
  const std::uint64_t since = line.last_arrival_ns ? now - line.last_arrival_ns : ~std::uint64_t{0};
  line.last_arrival_ns = now;
  shares owed;
  take_charge(d, line, now, owed);
  // Rare arrivals are each told of; a flood in growing steps, so that wake-ups stay bounded.
  if (since < 200'000) line.step = line.step < step_max ? (line.step ? line.step * 2 : 512) : line.step;
  else if (since > 1'000'000) line.step = 0;
  while (line.seen < total) {
    std::uint64_t bytes = total - line.seen;
    shares held = owed;
    if (d.http_rules) judge_message(d, fd, line, v, function, caller, bytes, now, held);
    else judge_arrival(d, fd, line, v, function, caller, d.mask, bytes, now, held);
    line.seen += bytes;
    push(line, line.seen, now, held);
  }
}

// How much may be read by now, and when there is more.
void find_due(delay_line& line, std::uint64_t now, due& out) {
  for (unsigned i = 0; i < line.count; ++i) {
    const delay_line::stamp& s = stamp_at(line, i);
    if (s.when.due_ns <= now) { out.bytes = s.upto - line.consumed; continue; }
    out.next_ns = s.when.due_ns;
    break;
  }
  for (delay_line::bucket& b : line.buckets) {
    if (!out.bytes) return;
    if (!b.rule) continue;
    if (!rule_in_force(b.rule, now)) { b.rule = 0; continue; }
    std::atomic<std::uint64_t> own{b.empty_ns};
    // Released in pieces of what the rate carries in a few milliseconds, so that little is late and wake-ups are few.
    std::uint64_t piece = effects::bandwidth::bytes_in(effects::bandwidth::piece_ns, b.rate) + 1;
    if (piece > out.bytes) piece = out.bytes;
    const std::uint64_t through = through_bucket(b.shared ? *b.shared : own, piece, b.rate, now, false);
    if (through > now) {
      out.next_ns = through;
      out.bytes = 0;
    } else {
      const std::uint64_t more = piece + effects::bandwidth::bytes_in(now - through, b.rate);
      if (more < out.bytes) {
        out.bytes = more;
        out.next_ns = now + effects::bandwidth::time_of(1, b.rate) + 1;
      }
    }
  }
}

}  // namespace

due look(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller) {
  due out;
  // Who waits looks again and again, and which rules match is known for one generation of them.
  if (generation_of(d.head.load(std::memory_order_relaxed)) != v.generation.load(std::memory_order_relaxed) && classify(fd, v) != &d) return out;
  if (is_wait(function)) {
    follow_end(d, fd, v, function, caller);
    ask_whether_it_stands(d, fd, v, function, caller);
  }
  if (!gates(d, v)) return out;
  if (d.listening) return look_at_connections(d, fd, v, function, caller);
  if (!lock(d)) return out;
  delay_line* const line = line_of(d);
  if (!line) { unlock(d); return out; }
  const std::uint64_t before = sys::now_ns();
  go_on(*line, v, before);
  if (line->blackhole_rule && stands_still(d, fd, *line, before, out)) { unlock(d); return out; }
  if (d.role & abi::classes::datagrams) {
    out = look_at_datagrams(d, fd, *line, v, function, caller);
    unlock(d);
    return out;
  }
  if (d.kind == descriptor_kind::tcp) out.least = d.own_threshold;  // polls of unix sockets do not look at it
  const queue q = queued(d, fd, line->seen > line->consumed);
  if (q.reset) line->reset_owed = true;
  const std::uint64_t now = sys::now_ns();  // not before: what has come is not older than that
  // A pipe that nobody has opened to write looks the same, and is at its end.
  out.empty = q.empty && (d.kind == descriptor_kind::tcp || d.kind == descriptor_kind::unix_stream);
  std::uint64_t total = line->consumed + q.bytes;
  if (total < line->seen) {  // bytes left by a road that we do not see (splice, another process): the line moves on
    line->consumed += line->seen - total;
    total = line->seen;
  }
  out.gated = true;
  out.ends_ns = ends_at(d, now);
  if (total > line->seen) stamp_arrivals(d, fd, *line, v, function, caller, total, now);
  while (line->count && line->stamps[line->first].upto <= line->consumed) {
    line->first = (line->first + 1) % delay_line::stamps_max;
    --line->count;
  }
  if (q.end && !line->end_seen) {
    line->end_seen = true;
    // Without bytes it is an arrival of its own.
    shares held;
    if (!line->count) judge_end(d, fd, *line, v, function, caller, now, held);
    line->end = line->count ? timing_of_last(*line) : timing_of(*line, now, held);
  }
  if (!q.end) line->end_seen = false;
  if (line->latest_due_ns > now || (line->end_seen && line->end.due_ns > now)) lift_what_ended(*line, now);
  find_due(*line, now, out);
  if (line->end_seen && out.next_ns == 0) {
    if (line->end.due_ns <= now) out.end = true;
    else out.next_ns = line->end.due_ns;
  }
  if (out.bytes || out.end) {
    if (const std::uint64_t gap = gap_until(d.gap_in, now)) {
      out.bytes = 0;
      out.end = false;
      out.next_ns = gap;
    }
  }
  unlock(d);
  return out;
}

void consumed(descriptor& d, std::uint64_t bytes) {
  add_to(d, d.in_bytes, bytes);
  if (!d.line.load(std::memory_order_acquire) || !lock(d)) return;
  delay_line* const line = d.line.load(std::memory_order_acquire);  // unless it was closed meanwhile
  if (!line) return unlock(d);
  line->head_judged = false;
  line->consumed += bytes;
  for (delay_line::bucket& b : line->buckets) {
    if (!b.rule || !(d.role & abi::classes::streams)) continue;
    std::atomic<std::uint64_t> own{b.empty_ns};
    through_bucket(b.shared ? *b.shared : own, bytes, b.rate, sys::now_ns(), true);
    b.empty_ns = own.load(std::memory_order_relaxed);
  }
  if (line->seen < line->consumed) line->seen = line->consumed;
  unlock(d);
}

void consumed_unseen(descriptor& d, int fd) {
  if (!d.line.load(std::memory_order_acquire) || !(d.role & abi::classes::streams) || !lock(d)) return;
  const delay_line* const line = d.line.load(std::memory_order_acquire);
  if (!line) return unlock(d);
  const std::uint64_t there = queued(d, fd).bytes, held = line->seen - line->consumed;
  const std::uint64_t gone = there < held ? held - there : 0;
  unlock(d);
  if (gone) consumed(d, gone);
}

}  // namespace chaos
