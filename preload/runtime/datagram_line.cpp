#include "datagram_line.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "bucket.hpp"
#include "decide.hpp"
#include "reorder.hpp"
#include "preload/effects/reorder.hpp"

namespace chaos {
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

// As the rules of now have it.
std::uint64_t due_of_head(delay_line& line, std::uint64_t now) {
  line.held.drop_ended(now);
  std::uint64_t due_ns = line.held_since_ns + line.held.total();
  for (const delay_line::bucket& b : line.buckets)
    if (b.rule && b.through_ns > due_ns && rule_in_force(b.rule, now)) due_ns = b.through_ns;
  return due_ns;
}

void judge_head(descriptor& d, int fd, delay_line& line, const rule_view& v, abi::function_id function, const void* caller, std::uint64_t now) {
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
  line.twice_owed += made.verdict.twice;
  line.head_overtakers = line.overtaken ? 0 : made.verdict.overtakers;
  line.head_rule = made.judged.count ? made.judged.fired[0].id : 0;
  line.held_since_ns = arrived;
  line.held.count = 0;
  add_shares(line.held, made.judged);
  take_charge(d, line, now, line.held);
  for (delay_line::bucket& b : line.buckets) b.through_ns = 0;
  for (unsigned i = 0; i < made.judged.count; ++i) {
    const core::fired_rule& f = made.judged.fired[i];
    if (f.dry_run) continue;
    if (f.kind == abi::effect::reorder) line.overtake_rule = f.id;
    if (f.kind != abi::effect::bandwidth) continue;
    delay_line::bucket* const b = bucket_of(line, f, arrived);
    if (!b) continue;
    std::atomic<std::uint64_t> mine{b->empty_ns};
    b->through_ns = b->empty_ns = through_bucket(b->shared ? *b->shared : mine, static_cast<std::uint64_t>(bytes), b->rate, arrived, true);
  }
  line.latest_due_ns = due_of_head(line, now);
  line.overtake_until_ns = line.latest_due_ns + effects::reorder::patience_ns;
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

}  // namespace

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
    pollfd p{fd, POLLIN, 0};
    const timespec none{0, 0};
    if (sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) <= 0) {
      line.head_judged = false;
      out.empty = true;
      return out;
    }
    const std::uint64_t now = sys::now_ns();  // not before: what has come is not older than that
    if (p.revents & (POLLERR | POLLHUP)) { out.end = true; out.bytes = ~std::uint64_t{0}; return out; }
    if (!line.head_judged) judge_head(d, fd, line, v, function, caller, now);
    if (line.head_lost) {
      char nothing;
      sys::call(SYS_recvfrom, fd, &nothing, 0, MSG_DONTWAIT, nullptr, nullptr);
      line.head_judged = line.head_lost = false;
      continue;
    }
    if (line.latest_due_ns > now) line.latest_due_ns = due_of_head(line, now);
    if (line.latest_due_ns <= now && line.head_overtakers && rule_in_force(line.overtake_rule, now)) {
      if (datagram_behind_head(fd)) {
        if ((line.overtaken = take_head(d, fd))) {
          line.overtakers_left = line.head_overtakers;
          if (line.head_twice && line.twice_owed) --line.twice_owed;
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

}  // namespace chaos
