#include "delay_line.hpp"

#include "accept_gate.hpp"
#include "owner.hpp"
#include "slice_gap.hpp"
#include "thresholds.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "decide.hpp"
#include "http.hpp"
#include "pool.hpp"
#include "reorder.hpp"
#include "preload/effects/compose.hpp"

namespace chaos {
namespace {

constexpr std::uint32_t step_max = 64 * 1024;        // bytes between two looks at a flood
constexpr int grown_buffer_max = 8 * 1024 * 1024;    // stamps_max steps of a flood
constinit pool<delay_line, 16 * 1024> lines;

delay_line* take_line() {
  delay_line* const l = lines.take();
  if (!l) return nullptr;
  l->consumed = l->seen = l->latest_due_ns = l->end_due_ns = l->last_arrival_ns = 0;
  l->first = l->count = l->step = l->rule = l->blackhole_rule = l->bandwidth_rule = 0;
  l->blackhole_until_ns = l->rate = l->empty_ns = 0;
  l->shared = nullptr;
  l->end_seen = l->head_judged = l->head_lost = l->head_twice = l->head_given = false;
  l->overtaken = nullptr;
  l->head_overtakers = l->overtakers_left = 0;
  l->stamped_since_ns = 0;
  l->threshold = l->own_threshold = 0;
  return l;
}

// What the kernel holds: bytes, and whether an end, error or hang-up stands behind them.
struct queue { std::uint64_t bytes; bool end; };
queue queued(const descriptor& d, int fd) {
  // The poll first: what is readable then is still counted after it. The other way round a byte that comes in between
  // would make a stream "readable without bytes", which is what its end looks like.
  pollfd p{fd, POLLIN | POLLRDHUP, 0};
  const timespec none{0, 0};
  const long ready = sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8);
  int n = 0;
  const unsigned long request = d.kind == descriptor_kind::tcp ? SIOCINQ : FIONREAD;
  if (sys::control(fd, request, &n) != 0 || n < 0) n = 0;
  const bool hup = ready > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
  // Streams of sockets say so themselves, and another thread may have read between the two questions.
  const bool says_so = d.kind == descriptor_kind::tcp || d.kind == descriptor_kind::unix_stream || d.kind == descriptor_kind::udp;
  const bool empty_but_readable = ready > 0 && (p.revents & POLLIN) && n == 0 && !says_so;
  return {static_cast<std::uint64_t>(n), hup || empty_but_readable};
}

// Delay for what just arrived, by the rules in force; reports each injection.
std::uint64_t judge_arrival(descriptor& d, int fd, delay_line& line, const rule_view& v, abi::function_id function,
                            const void* caller, const std::uint64_t (&mask)[4], std::uint64_t bytes, std::uint64_t now_ns) {
  const abi::class_set side = (d.role & abi::classes::datagrams) ? abi::classes::datagram_in : abi::classes::stream_in;
  decision made;
  decide({.function = function, .acts_as = side, .kinds = core::arrival_effects, .size = bytes, .bytes = bytes, .now_ns = now_ns}, mask, &d, v,
         caller, made);
  const std::uint64_t delay = made.verdict.delay_ns;
  for (unsigned i = 0; i < made.judged.count; ++i) {
    if (made.judged.fired[i].rule->kind != abi::effect::bandwidth && made.judged.fired[i].delay_ns) line.rule = made.judged.fired[i].rule->id;
  }
  if (const core::fired_rule* b = made.verdict.bandwidth) {
    line.bandwidth_rule = b->rule->id;
    line.rate = b->rule->bytes ? b->rule->bytes : 1;
    line.shared = shared_bucket(*b->rule);
    if (line.shared) begin_empty(*line.shared, now_ns);
    else if (!line.empty_ns) line.empty_ns = now_ns;
  }
  report_fired(made, d, fd, bytes, caller, abi::event_flags::gated);
  count_bytes(made.judged, bytes);
  return delay;
}

// The same where rules about HTTP messages are among them: for as many of the bytes as belong to one message.
std::uint64_t judge_message(descriptor& d, int fd, delay_line& line, const rule_view& v, abi::function_id function, const void* caller,
                            std::uint64_t& bytes, std::uint64_t now_ns) {
  const http_portion p = http_arrival(d, fd, v, line.seen - line.consumed, bytes);
  bytes = p.bytes;
  std::uint64_t delay = judge_arrival(d, fd, line, v, function, caller, p.plain, bytes, now_ns);
  if (!(p.message[0] | p.message[1] | p.message[2] | p.message[3])) return delay + p.delay_ns;
  const std::uint64_t own = judge_arrival(d, fd, line, v, function, caller, p.message, bytes, now_ns);
  if (own && !p.ends) http_arrival_delayed(d, own, line.rule);
  return delay + own;
}

// The end of the stream, when no byte came with it: no message's.
std::uint64_t judge_end(descriptor& d, int fd, delay_line& line, const rule_view& v, abi::function_id function, const void* caller, std::uint64_t now_ns) {
  std::uint64_t plain[4];
  for (unsigned i = 0; i < 4; ++i) plain[i] = d.mask[i];
  if (d.http_rules) http_filter_out(v, plain);
  return judge_arrival(d, fd, line, v, function, caller, plain, 0, now_ns);
}

void push(delay_line& line, std::uint64_t upto, std::uint64_t due_ns) {
  if (due_ns < line.latest_due_ns) due_ns = line.latest_due_ns;  // never out of order
  line.latest_due_ns = due_ns;
  if (line.count == delay_line::stamps_max) {  // full: the newest two become one, due when the later is
    line.stamps[(line.first + line.count - 1) % delay_line::stamps_max] = {upto, due_ns};
    return;
  }
  line.stamps[(line.first + line.count++) % delay_line::stamps_max] = {upto, due_ns};
}

}  // namespace

void release_line(delay_line* line) {
  if (line->overtaken) drop_overtaken(line->overtaken);
  lines.give_back(*line);
}

void black_hole(descriptor& d, std::uint32_t rule, std::uint64_t until_ns) {
  delay_line* line = d.line.load(std::memory_order_acquire);
  if (!line) {
    if (!(line = take_line())) return;
    d.line.store(line, std::memory_order_release);
  }
  line->blackhole_until_ns = until_ns;
  line->blackhole_rule = rule;
}

bool black_holed(const descriptor& d) {
  const delay_line* l = d.line.load(std::memory_order_acquire);
  return l && l->blackhole_rule;
}

bool closes_by_itself(const descriptor& d) {
  const delay_line* l = d.line.load(std::memory_order_acquire);
  return l && l->blackhole_rule && l->blackhole_until_ns;
}

std::uint64_t send_held_until(descriptor& d, std::uint64_t now_ns) {
  if (const std::uint64_t gap = gap_until(d.gap_out, now_ns)) return gap;
  const std::uint64_t due = d.send_due_ns.load(std::memory_order_relaxed);
  if (!due) return 0;
  if (due > now_ns && lease_holds(now_ns) && page->armed_classes.load(std::memory_order_relaxed)) return due;
  d.send_due_ns.store(0, std::memory_order_relaxed);
  return 0;
}

std::uint64_t through_bucket(std::atomic<std::uint64_t>& bucket, std::uint64_t bytes, std::uint64_t rate, std::uint64_t now_ns, bool take) {
  std::uint64_t empty = bucket.load(std::memory_order_relaxed), through;
  do {
    const std::uint64_t floor = now_ns - effects::bandwidth::burst_ns;
    through = (empty > floor ? empty : floor) + effects::bandwidth::time_of(bytes, rate);
  } while (take && !bucket.compare_exchange_weak(empty, through, std::memory_order_relaxed));
  return through;
}

void begin_empty(std::atomic<std::uint64_t>& bucket, std::uint64_t now_ns) {
  std::uint64_t unused = 0;
  bucket.compare_exchange_strong(unused, now_ns, std::memory_order_relaxed);
}

std::atomic<std::uint64_t>* shared_bucket(const abi::rule& r) {
  return (r.flags & abi::rule_flags::shared_bucket) && report && r.slot < abi::rule_max ? &report->rules[r.slot].bucket : nullptr;
}

bool take_twice(descriptor& d) {
  delay_line* line = d.line.load(std::memory_order_acquire);
  if (!line || !line->head_twice) return false;
  line->head_twice = false;
  return true;
}

std::uint64_t output_held_until(descriptor& d, std::uint64_t now_ns) {
  if (const delay_line* l = d.line.load(std::memory_order_acquire); l && l->blackhole_rule && rule_in_force(l->blackhole_rule, now_ns)) {
    if (!l->blackhole_until_ns) return ~std::uint64_t{0};
    return l->blackhole_until_ns > now_ns ? l->blackhole_until_ns : 0;  // past it, look() closes the connection
  }
  const std::uint64_t due = d.connect_due_ns.load(std::memory_order_relaxed);
  if (!due) return 0;
  if (due > now_ns && lease_holds(now_ns)) return due;
  d.connect_due_ns.store(0, std::memory_order_relaxed);
  return 0;
}

bool gates_any(const descriptor& d, const rule_view& v) {
  return d.connect_due_ns.load(std::memory_order_relaxed) || d.send_due_ns.load(std::memory_order_relaxed) || has_gap(d.gap_out) || d.redirected.load(std::memory_order_relaxed) || gates(d, v);
}

namespace {
bool line_holds(const descriptor& d) {
  const delay_line* l = d.line.load(std::memory_order_relaxed);
  return (l && (l->count || l->end_seen || l->blackhole_rule || l->head_judged || l->overtaken)) || d.charge_ns.load(std::memory_order_relaxed);
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

namespace {

// Peeks at the head without taking a byte of it: who sent it, and the kernel's receive time of it (0: none to be had).
std::int64_t peek_stamp(const descriptor& d, int fd, sockaddr_storage& from, socklen_t& from_length) {
  char nothing;
  iovec none{&nothing, 0};
  msghdr peek{};
  peek.msg_name = &from;
  peek.msg_namelen = sizeof from;
  peek.msg_iov = &none;
  peek.msg_iovlen = 1;
  from_length = 0;
  if (sys::call(SYS_recvmsg, fd, &peek, MSG_PEEK | MSG_DONTWAIT) < 0) return 0;
  from_length = peek.msg_namelen;
  timespec stamp{};
  if (d.kind != descriptor_kind::udp || sys::control(fd, SIOCGSTAMPNS, &stamp) != 0) return 0;
  return stamp.tv_sec * std::int64_t{1'000'000'000} + stamp.tv_nsec;
}

// When the datagram at the head arrived. UDP: the kernel's own receive time, so that waiting behind others does not add
// up; elsewhere the moment that it is first seen. For a datagram that came before the kernel kept times it answers with
// the time of the question, another one each time: such a one was there when the first question was asked.
std::uint64_t datagram_arrival(const descriptor& d, int fd, const delay_line& line, std::uint64_t now, sockaddr_storage& from,
                               socklen_t& from_length) {
  const std::int64_t stamp = peek_stamp(d, fd, from, from_length);
  if (!stamp) return now;
  timespec wall{};
  sys::call(SYS_clock_gettime, CLOCK_REALTIME, &wall);
  const std::int64_t age = wall.tv_sec * std::int64_t{1'000'000'000} + wall.tv_nsec - stamp;
  if (age < 1'000'000 && peek_stamp(d, fd, from, from_length) != stamp) return line.stamped_since_ns;
  return age > 0 && age < 10'000'000'000 ? now - static_cast<std::uint64_t>(age) : now;
}

// Rules for a datagram whose peer is known only now.
void mask_for_peer(const rule_view& v, const descriptor& d, const sockaddr_storage& from, socklen_t n, std::uint64_t (&mask)[4]) {
  core::endpoint e;
  e.over = abi::transport::datagram;
  e.has_remote = parse_address(reinterpret_cast<const sockaddr*>(&from), n, e.remote, e.remote_port);
  e.listen_port = d.local_port;
  match_endpoint(v, e, mask);
}

// What a non-blocking sender owes, while the rule that says so is in force; the line is let go with that rule then.
std::uint64_t take_charge(descriptor& d, delay_line& line, std::uint64_t now_ns) {
  const std::uint64_t charge = d.charge_ns.exchange(0, std::memory_order_relaxed);
  const std::uint32_t rule = d.charge_rule.load(std::memory_order_relaxed);
  if (!charge || !rule_in_force(rule, now_ns)) return 0;
  line.rule = rule;
  return charge;
}

due look_at_datagrams(descriptor& d, int fd, delay_line& line, const rule_view& v, abi::function_id function, const void* caller) {
  due out;
  out.gated = true;
  if (!line.stamped_since_ns && d.kind == descriptor_kind::udp) {  // from the first question on the kernel keeps receive times
    timespec ignored;
    sys::control(fd, SIOCGSTAMPNS, &ignored);
    line.stamped_since_ns = sys::now_ns();
  }
  for (unsigned lost = 0; lost < 1024; ++lost) {
    if (line.overtaken && (line.head_given || line.overtakers_left == 0)) {  // hooks/reorder has something to give
      out.bytes = ~std::uint64_t{0};
      return out;
    }
    const std::uint64_t now = sys::now_ns();
    pollfd p{fd, POLLIN, 0};
    const timespec none{0, 0};
    if (sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) <= 0) { line.head_judged = false; return out; }
    if (p.revents & (POLLERR | POLLHUP)) { out.end = true; out.bytes = ~std::uint64_t{0}; return out; }
    if (!line.head_judged) {
      sockaddr_storage from{};
      socklen_t from_length = 0;
      const std::uint64_t arrived = datagram_arrival(d, fd, line, now, from, from_length);
      int bytes = 0;
      sys::control(fd, FIONREAD, &bytes);
      std::uint64_t mask[4];
      if (d.per_call) mask_for_peer(v, d, from, from_length, mask);
      else for (unsigned i = 0; i < 4; ++i) mask[i] = d.mask[i];
      decision made;
      decide({.function = function, .acts_as = abi::classes::datagram_in, .kinds = core::datagram_arrival_effects,
              .size = static_cast<std::uint64_t>(bytes), .bytes = static_cast<std::uint64_t>(bytes), .now_ns = now}, mask, &d, v, caller, made);
      line.head_judged = true;
      line.head_lost = made.verdict.drop;
      line.head_twice = made.verdict.twice;
      line.head_overtakers = line.overtaken ? 0 : made.verdict.overtakers;
      const std::uint64_t charge = take_charge(d, line, now);
      std::uint64_t due_ns = arrived + made.verdict.delay_ns + charge;
      if (const core::fired_rule* b = made.verdict.bandwidth) {
        std::atomic<std::uint64_t> mine{line.empty_ns};
        std::atomic<std::uint64_t>* shared = shared_bucket(*b->rule);
        begin_empty(shared ? *shared : mine, arrived);
        const std::uint64_t through = through_bucket(shared ? *shared : mine, static_cast<std::uint64_t>(bytes), b->rule->bytes ? b->rule->bytes : 1, arrived, true);
        if (!shared) line.empty_ns = through;
        if (through > due_ns) due_ns = through;
      }
      if (due_ns < line.latest_due_ns) due_ns = line.latest_due_ns;
      line.latest_due_ns = due_ns;
      line.overtake_until_ns = due_ns + effects::reorder::patience_ns;
      if (made.judged.count) line.rule = made.judged.fired[0].rule->id;
      else if (!charge) line.rule = 0;
      if (made.judged.count) {
        char room[sizeof abi::event::text];
        const char* text = room;
        std::uint8_t address[16];
        std::uint16_t port = 0;
        if (d.per_call && parse_address(reinterpret_cast<sockaddr*>(&from), from_length, address, port)) describe_address(address, port, room, sizeof room);
        else text = describe(d, fd, room, sizeof room);
        report_fired(made, text, d.ordinal, static_cast<std::uint64_t>(bytes), caller, abi::event_flags::gated);
        count_bytes(made.judged, static_cast<std::uint64_t>(bytes));
      }
    }
    if (line.head_lost) {
      char nothing;
      sys::call(SYS_recvfrom, fd, &nothing, 0, MSG_DONTWAIT, nullptr, nullptr);
      line.head_judged = line.head_lost = false;
      continue;
    }
    if (line.rule && line.latest_due_ns > now && !rule_in_force(line.rule, now)) line.latest_due_ns = 0;
    if (line.latest_due_ns <= now && line.head_overtakers && rule_in_force(line.rule, now)) {
      if (datagram_behind_head(fd)) {
        if ((line.overtaken = take_head(d, fd))) {
          line.overtakers_left = line.head_overtakers;
          line.head_judged = line.head_twice = false;
        }
        line.head_overtakers = 0;
        continue;
      }
      if (now < line.overtake_until_ns) {
        out.next_ns = line.overtake_until_ns;
        return out;
      }
      line.head_overtakers = 0;
    }
    if (line.latest_due_ns <= now) out.bytes = ~std::uint64_t{0};
    else out.next_ns = line.latest_due_ns;
    return out;
  }
  return out;
}

}  // namespace

due look(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller) {
  due out;
  if (!gates(d, v)) return out;
  if (d.listening) return look_at_connections(d, fd, v, function, caller);
  if (!lock(d)) return out;
  delay_line* line = d.line.load(std::memory_order_relaxed);
  if (!line && !(line = take_line())) { unlock(d); return out; }
  d.line.store(line, std::memory_order_release);
  const std::uint64_t now = sys::now_ns();
  if (line->blackhole_rule) {
    if (rule_in_force(line->blackhole_rule, now)) {
      out.gated = out.blocked = true;
      out.next_ns = line->blackhole_until_ns ? line->blackhole_until_ns : now + 3'600'000'000'000;
      if (out.next_ns <= now) {  // its time is up: the connection closes
        line->blackhole_rule = 0;
        out.blocked = false;
        out.end = true;
        sys::call(SYS_shutdown, fd, SHUT_RDWR);
        d.broken.store(true, std::memory_order_relaxed);
      }
      unlock(d);
      return out;
    }
    line->blackhole_rule = 0;
  }
  if (d.role & abi::classes::datagrams) {
    out = look_at_datagrams(d, fd, *line, v, function, caller);
    unlock(d);
    return out;
  }
  if (d.kind == descriptor_kind::tcp) out.least = d.own_threshold;  // polls of unix sockets do not look at it
  const queue q = queued(d, fd);
  std::uint64_t total = line->consumed + q.bytes;
  if (total < line->seen) {  // bytes left by a road that we do not see (splice, another process): the line moves on
    line->consumed += line->seen - total;
    total = line->seen;
  }
  out.gated = true;
  if (total > line->seen) {
    const std::uint64_t charge = take_charge(d, *line, now);
    const std::uint64_t since = line->last_arrival_ns ? now - line->last_arrival_ns : ~std::uint64_t{0};
    line->last_arrival_ns = now;
    // Rare arrivals are each told of; a flood in growing steps, so that wake-ups stay bounded.
    if (since < 200'000) line->step = line->step < step_max ? (line->step ? line->step * 2 : 512) : line->step;
    else if (since > 1'000'000) line->step = 0;
    while (line->seen < total) {
      std::uint64_t bytes = total - line->seen;
      const std::uint64_t delay = d.http_rules ? judge_message(d, fd, *line, v, function, caller, bytes, now)
                                               : judge_arrival(d, fd, *line, v, function, caller, d.mask, bytes, now);
      line->seen += bytes;
      push(*line, line->seen, now + delay + charge);
    }
  }
  while (line->count && line->stamps[line->first].upto <= line->consumed) {
    line->first = (line->first + 1) % delay_line::stamps_max;
    --line->count;
  }
  if (q.end && !line->end_seen) {
    line->end_seen = true;
    // The end travels behind the last byte; without bytes it is an arrival of its own.
    line->end_due_ns = line->count ? line->latest_due_ns : now + judge_end(d, fd, *line, v, function, caller, now);
  }
  if (!q.end) line->end_seen = false;
  // A delay whose rule is gone holds nothing any more, and neither does a lapsed lease.
  if (line->rule && (line->count || line->end_seen) && !rule_in_force(line->rule, now)) {
    for (unsigned i = 0; i < line->count; ++i) line->stamps[(line->first + i) % delay_line::stamps_max].due_ns = 0;
    line->latest_due_ns = 0;
    line->end_due_ns = 0;
  }
  for (unsigned i = 0; i < line->count; ++i) {
    const delay_line::stamp& s = line->stamps[(line->first + i) % delay_line::stamps_max];
    if (s.due_ns <= now) { out.bytes = s.upto - line->consumed; continue; }
    out.next_ns = s.due_ns;
    break;
  }
  if (out.bytes && line->bandwidth_rule && rule_in_force(line->bandwidth_rule, now)) {
    std::atomic<std::uint64_t> own{line->empty_ns};
    std::atomic<std::uint64_t>& bucket = line->shared ? *line->shared : own;
    // Released in pieces of what the rate carries in a few milliseconds, so that little is late and wake-ups are few.
    std::uint64_t piece = effects::bandwidth::bytes_in(effects::bandwidth::piece_ns, line->rate) + 1;
    if (piece > out.bytes) piece = out.bytes;
    const std::uint64_t through = through_bucket(bucket, piece, line->rate, now, false);
    if (through > now) {
      out.next_ns = through;
      out.bytes = 0;
    } else {
      const std::uint64_t more = piece + effects::bandwidth::bytes_in(now - through, line->rate);
      if (more < out.bytes) {
        out.bytes = more;
        out.next_ns = now + effects::bandwidth::time_of(1, line->rate) + 1;
      }
    }
  }
  if (line->end_seen && out.next_ns == 0) {
    if (line->end_due_ns <= now) out.end = true;
    else out.next_ns = line->end_due_ns;
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
  owner_window(d).add(d.in_bytes, bytes);
  delay_line* line = d.line.load(std::memory_order_acquire);
  if (!line || !lock(d)) return;
  line->head_judged = false;
  line->consumed += bytes;
  if (line->bandwidth_rule && (d.role & abi::classes::streams)) {
    std::atomic<std::uint64_t> own{line->empty_ns};
    through_bucket(line->shared ? *line->shared : own, bytes, line->rate, sys::now_ns(), true);
    if (!line->shared) line->empty_ns = own.load(std::memory_order_relaxed);
  }
  if (line->seen < line->consumed) line->seen = line->consumed;
  unlock(d);
}

void consumed_unseen(descriptor& d, int fd) {
  delay_line* line = d.line.load(std::memory_order_acquire);
  if (!line || !(d.role & abi::classes::streams) || !lock(d)) return;
  const std::uint64_t there = queued(d, fd).bytes, held = line->seen - line->consumed;
  const std::uint64_t gone = there < held ? held - there : 0;
  unlock(d);
  if (gone) consumed(d, gone);
}

namespace {
void keep_own_threshold(delay_line& line, const descriptor& d, int fd) {
  if (line.threshold) return;
  int present = 1;
  socklen_t length = sizeof present;
  sys::get_option(fd, SOL_SOCKET, SO_RCVLOWAT, &present, &length);
  line.own_threshold = thresholds::note(d.inode, present);
}
}  // namespace

void raise_threshold(descriptor& d, int fd) {
  delay_line* line = d.line.load(std::memory_order_acquire);
  if (!line || d.kind != descriptor_kind::tcp || !lock(d)) return;
  int n = 0, buffer = 0;
  socklen_t length = sizeof buffer;
  sys::control(fd, SIOCINQ, &n);
  sys::get_option(fd, SOL_SOCKET, SO_RCVBUF, &buffer, &length);
  keep_own_threshold(*line, d, fd);
  int want = n + 1 + static_cast<int>(line->step);
  // What is held back fills the buffer: over a network as slow as this the kernel would have grown it to the product of
  // bandwidth and delay. It can not know (the program takes what is due at once), so the buffer is doubled for it. One
  // that the program sized itself stays as it is: the kernel then refuses.
  if (n > buffer / 4 && buffer < grown_buffer_max) {
    sys::set_option(fd, SOL_SOCKET, SO_RCVLOWAT, buffer * 2);
    sys::get_option(fd, SOL_SOCKET, SO_RCVBUF, &buffer, &length);
  }
  // Otherwise never above half of the buffer: the kernel clamps there, and a larger value would grow it for good.
  if (buffer > 0 && want > buffer / 2) want = buffer / 2;
  if (want > n) {
    line->threshold = want;
    sys::set_option(fd, SOL_SOCKET, SO_RCVLOWAT, want);
  }
  unlock(d);
}

void wait_beyond(descriptor& d, int fd, unsigned bytes) {
  delay_line* line = d.line.load(std::memory_order_acquire);
  if (!line) {
    if (!(line = take_line())) return;
    d.line.store(line, std::memory_order_release);
  }
  if (d.kind != descriptor_kind::tcp || !lock(d)) return;
  keep_own_threshold(*line, d, fd);
  line->threshold = static_cast<int>(bytes) + 1;
  sys::set_option(fd, SOL_SOCKET, SO_RCVLOWAT, line->threshold);
  unlock(d);
}

void restore_threshold(descriptor& d, int fd) {
  delay_line* line = d.line.load(std::memory_order_acquire);
  if (!line || !line->threshold || !lock(d)) return;
  if (line->threshold) sys::set_option(fd, SOL_SOCKET, SO_RCVLOWAT, line->own_threshold > 0 ? line->own_threshold : 1);
  line->threshold = 0;
  thresholds::take_back(d.inode);
  unlock(d);
}

}  // namespace chaos
