// A status line of another length is given piece by piece: the last byte of the original stays in the kernel's queue, or is
// not taken from the writer, until the last byte of the replacement is through. So readiness stays the kernel's own.
#include "http.hpp"

#include <string.h>

#include "buffers.hpp"
#include "moves.hpp"
#include "own.hpp"
#include "rules.hpp"
#include "preload/runtime/delay_line.hpp"
#include "preload/runtime/http.hpp"
#include "preload/runtime/receive_threshold.hpp"

namespace chaos::hooks {
namespace {

namespace http = core::http;

http::way way_of(const frame& f) { return f.acts_as & cls::stream_in ? http::way::in : http::way::out; }

long peek(int fd, char* to, std::size_t room) { return sys::call(SYS_recvfrom, fd, to, room, MSG_PEEK | MSG_DONTWAIT, nullptr, nullptr); }

bool wants_status(const frame& f) {
  return any_rule(*f.view, f.http_mask, [&](const abi::rule& r) { return r.kind == abi::effect::http_error && (r.classes & f.acts_as); });
}

void drop_status_rules(frame& f) {
  for (unsigned w = 0; w < 4; ++w)
    for (std::uint64_t bits = f.http_mask[w]; bits; bits &= bits - 1)
      if (f.view->bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))].kind == abi::effect::http_error) f.http_mask[w] &= ~(bits & -bits);
}

void pass_by(frame& f) { http_filter_out(*f.view, f.http_mask); }

// As much of the replacement as the reader has room for.
road give(frame& f, http_line& h) {
  const http::replacement& r = h.given;
  const unsigned left = r.size - h.given_so_far;
  const std::size_t part = f.moves < left ? f.moves : left;
  scatter(buffers(f), r.text + h.given_so_far, part);
  if (f.c.msg_in) {
    msghdr* m = f.asked_msg ? f.asked_msg : *f.c.msg_in;
    m->msg_namelen = 0;
    m->msg_controllen = 0;
    m->msg_flags = 0;
    *f.c.msg_in = m;
  }
  f.result = static_cast<long>(part);
  if (f.peeks) return road::done;
  h.given_so_far += static_cast<unsigned>(part);
  if (part == left) {
    char original[http_window];
    const long got = sys::call(SYS_recvfrom, f.c.fd, original, r.original, MSG_DONTWAIT, nullptr, nullptr);
    h.given.size = 0;
    if (got > 0) {
      const iovec all{original, static_cast<std::size_t>(got)};
      http_passed(*f.d, *f.view, http::way::in, &all, 1, static_cast<std::uint64_t>(got));
      consumed(*f.d, static_cast<std::uint64_t>(got));
    }
  }
  if (nonblocking(f)) refire(f.c.fd);
  return road::done;
}

// The writer's first `n` bytes were taken in another form: the call goes on with the rest.
void advance(frame& f, std::uint64_t n) {
  f.moves -= n;
  f.gathered += n;
  if (f.c.out && f.c.size) {
    *f.c.out = static_cast<const char*>(*f.c.out) + n;
    *f.c.size -= n;
    return;
  }
  const buffers from(f);
  const std::size_t used = skip(f, from.parts, from.count, n);
  if (f.c.iov) {
    *f.c.iov = f.iov;
    *f.c.iov_count = static_cast<int>(used);
  } else {
    stand_in(f, *f.c.msg_out);
    f.msg.msg_iov = f.iov;
    f.msg.msg_iovlen = used;
  }
}

// The replacement goes out before the rest of what the call writes.
road send_first(frame& f, http_line& h) {
  const http::replacement& r = h.given;
  const bool more = f.moves > r.original;
  while (h.given_so_far < r.size) {
    const ssize_t sent = real.send(f.c.fd, r.text + h.given_so_far, r.size - h.given_so_far, MSG_NOSIGNAL | (more ? MSG_MORE : 0) | (nonblocking(f) ? MSG_DONTWAIT : 0));
    if (sent > 0) { h.given_so_far += static_cast<unsigned>(sent); continue; }
    f.error = errno;
    if (f.error == EAGAIN || (f.error == EINTR && h.given_so_far == 0)) return road::fail;
    if (f.error == EINTR) continue;
    f.error = 0;  // the connection is broken: the real call finds that by itself
    h.given.size = 0;
    return road::go;
  }
  const std::uint64_t original = r.original < f.moves ? r.original : f.moves;
  const buffers all(f);
  http_passed(*f.d, *f.view, http::way::out, all.parts, all.count, original);
  h.given.size = 0;
  advance(f, original);
  f.result = 0;
  return f.moves ? road::go : road::done;
}

// Waits until more than these `n` bytes are there. True: look again. False: the call takes `way`.
bool wait_for_more(frame& f, long n, std::uint64_t deadline, road& way) {
  descriptor& d = *f.d;
  if (nonblocking(f)) {
    if (n > 0) wait_beyond(d, f.c.fd, static_cast<unsigned>(n));
    f.error = EAGAIN;
    way = road::fail;
    return false;
  }
  if (n > 0) wait_beyond(d, f.c.fd, static_cast<unsigned>(n));
  const std::uint64_t now = sys::now_ns();
  const int error = now >= deadline ? EAGAIN : wait_for_input(d, f.c.fd, due{}, deadline);
  if (n > 0) restore_threshold(d, f.c.fd);
  if (!error) return true;
  f.error = error;
  way = road::fail;
  return false;
}

bool at_its_end(int fd) {
  pollfd p{fd, POLLRDHUP, 0};
  const timespec none{0, 0};
  return sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) > 0;
}

bool enter_reading(frame& f, http_line& h, road& way) {
  descriptor& d = *f.d;
  if (h.given.size && h.given_in) { way = give(f, h); return false; }
  if (h.part_held) {
    h.part_held = false;
    restore_threshold(d, f.c.fd);
  }
  if (!http_acts_on_calls(*f.view, d.mask, f.acts_as)) { pass_by(f); return true; }
  const std::uint64_t deadline = nonblocking(f) ? 0 : deadline_of(f.c.fd, SO_RCVTIMEO, sys::now_ns());
  for (;;) {
    if (!look_anew(f)) return true;
    char window[http_window];
    const std::size_t room = f.due_bytes < sizeof window ? f.due_bytes : sizeof window;
    const long n = peek(f.c.fd, window, room);
    if (n == -EAGAIN) {
      if (wait_for_more(f, 0, deadline, way)) continue;
      return false;
    }
    if (n <= 0) { pass_by(f); return true; }
    const iovec all{window, static_cast<std::size_t>(n)};
    const http_message m = http_ahead(d, *f.view, http::way::in, &all, 1, static_cast<std::uint64_t>(n));
    memcpy(f.http_mask, d.mask, sizeof d.mask);
    http_filter(d, *f.view, http::way::in, m, f.http_mask);
    if (!m.known) return true;
    if (wants_status(f)) {
      http::replacement r;
      if (m.begins) http::replace_status(window, static_cast<std::size_t>(n), 200, r);
      if (r.result == http::replacement::outcome::incomplete && static_cast<std::size_t>(n) < sizeof window && room == sizeof window &&
          d.kind == descriptor_kind::tcp && !at_its_end(f.c.fd)) {
        h.part_held = nonblocking(f);
        if (wait_for_more(f, n, deadline, way)) continue;
        return false;
      }
      if (r.result != http::replacement::outcome::made) drop_status_rules(f);
    }
    limit_to(f, m.ends);
    return true;
  }
}

bool enter_writing(frame& f, http_line& h, road& way) {
  descriptor& d = *f.d;
  if (h.given.size && !h.given_in) { way = send_first(f, h); return false; }
  const buffers all(f);
  const bool acts = http_acts_on_calls(*f.view, d.mask, f.acts_as);
  const http_message m = http_ahead(d, *f.view, http::way::out, all.parts, all.count, f.moves);
  memcpy(f.http_mask, d.mask, sizeof d.mask);
  http_filter(d, *f.view, http::way::out, m, f.http_mask);
  if (!m.known || !acts) return true;
  if (wants_status(f)) {
    char window[http_window];
    http::replacement r;
    if (m.begins) http::replace_status(window, gather(all, window, sizeof window), 200, r);
    if (r.result != http::replacement::outcome::made) drop_status_rules(f);
  }
  if (all.count) limit_to(f, m.ends);
  return true;
}

}  // namespace

bool http_enter(frame& f, road& way) {
  f.http = true;
  memcpy(f.http_mask, f.d->mask, sizeof f.http_mask);
  if (f.c.stream) http_leave_alone(*f.d);  // its bytes pass inside libc
  http_line* h = http_of(*f.d);
  if (!h) { pass_by(f); return true; }
  return way_of(f) == http::way::in ? enter_reading(f, *h, way) : enter_writing(f, *h, way);
}

road http_answer(frame& f, unsigned status) {
  http_line* h = http_of(*f.d);
  if (!h) return road::go;
  char window[http_window];
  std::size_t n = 0;
  const bool in = way_of(f) == http::way::in;
  if (in) {
    const long got = peek(f.c.fd, window, sizeof window);
    n = got > 0 ? static_cast<std::size_t>(got) : 0;
  } else {
    n = gather(buffers(f), window, sizeof window);
  }
  http::replacement r;
  http::replace_status(window, n, status, r);
  if (r.result != http::replacement::outcome::made) return road::go;
  h->given = r;
  h->given_so_far = 0;
  h->given_in = in;
  return in ? give(f, *h) : send_first(f, *h);
}

void http_leave(frame& f, std::uint64_t moved) {
  const http::way w = way_of(f);
  const buffers all(f);
  const bool unseen = !all.count || (w == http::way::in && f.c.flags && (*f.c.flags & MSG_TRUNC));
  if (unseen) http_skipped(*f.d, w, moved);
  else http_passed(*f.d, *f.view, w, all.parts, all.count, moved);
}

}  // namespace chaos::hooks
