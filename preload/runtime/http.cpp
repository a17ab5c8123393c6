#include "http.hpp"

#include <string.h>
#include <sys/uio.h>

#include "delay_line.hpp"
#include "names.hpp"
#include "pool.hpp"

namespace chaos {

namespace http = core::http;

namespace {

constinit pool<http_line, 4096> lines;

// Asked once for each message; the others look at every call that carries a part of it.
constexpr core::effect_set once = core::of(abi::effect::latency) | core::of(abi::effect::loss) | core::of(abi::effect::error) |
                                  core::of(abi::effect::http_error) | core::of(abi::effect::pause) | core::of(abi::effect::crash);

http_line* take_line() {
  http_line* const line = lines.take();
  if (!line && report) report->session.untracked.fetch_add(1, std::memory_order_relaxed);
  return line;
}

core::endpoint endpoint_of(const descriptor& d) {
  core::endpoint e;
  e.over = abi::transport::stream;
  e.has_remote = d.has_remote;
  memcpy(e.remote, d.remote, sizeof e.remote);
  e.remote_port = d.remote_port;
  e.listen_port = d.local_port;
  return e;
}

// Which rules by path mean this request.
struct note_rules {
  const descriptor& d;
  const rule_view& v;
  void operator()(const http::parser& p, http::request_note& note) const {
    core::endpoint e = endpoint_of(d);
    e.http_path = p.path();
    for (unsigned w = 0; w < 4; ++w)
      for (std::uint64_t bits = d.mask[w] & v.mask[w]; bits; bits &= bits - 1) {
        const abi::rule& r = v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))];
        if ((r.flags & abi::rule_flags::http_path) && note.rules_count < http::request_note::rules_max && core::target_matches(r, *v.bank, e, name_matches))
          note.rules[note.rules_count++] = r.id;
      }
  }
};

void filter(const rule_view& v, const http::request_note* note, bool known, bool answers, bool decided, std::uint64_t (&mask)[4]) {
  for (unsigned w = 0; w < 4; ++w)
    for (std::uint64_t bits = mask[w]; bits; bits &= bits - 1) {
      const abi::rule& r = v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))];
      if (!(r.flags & abi::rule_flags::http)) continue;
      const bool meant = known && (!(r.flags & abi::rule_flags::http_path) || (note && note->meant_by(r.id)));
      const bool asked = decided && (core::of(r.kind) & once);
      if (!meant || asked || (r.kind == abi::effect::http_error && !answers)) mask[w] &= ~(bits & -bits);
    }
}

}  // namespace

http_line* http_of(descriptor& d) {
  if (d.http_over.load(std::memory_order_relaxed)) return nullptr;
  http_line* line = d.http.load(std::memory_order_acquire);
  if (line) return line;
  if (d.kind != descriptor_kind::tcp && d.kind != descriptor_kind::unix_stream) return nullptr;
  http_line* fresh = take_line();
  if (!fresh) return nullptr;
  // Followed from its first byte on only if nothing has passed since connect() or accept() told of it.
  const bool from_start = d.born == page_generation() && !d.in_bytes.load(std::memory_order_relaxed) && !d.out_bytes.load(std::memory_order_relaxed);
  fresh->talk = http::conversation(!from_start ? http::side::unknown : d.asked_length ? http::side::client : http::side::server);
  fresh->given.size = 0;
  fresh->given_so_far = 0;
  fresh->part_held = false;
  fresh->arriving_followed = fresh->arriving_noted = fresh->arriving_decided = false;
  fresh->arriving_held.count = 0;
  if (!d.http.compare_exchange_strong(line, fresh, std::memory_order_acq_rel)) {
    release_http(fresh);
    return line;
  }
  return fresh;
}

void release_http(http_line* line) { lines.give_back(*line); }

void http_leave_alone(descriptor& d) { d.http_over.store(true, std::memory_order_relaxed); }

void http_passed(descriptor& d, const rule_view& v, http::way w, const iovec* parts, std::size_t count, std::uint64_t bytes) {
  http_line* h = http_of(d);
  if (!h) return;
  if (!lock(d)) return http_leave_alone(d);  // bytes went by unseen
  for (std::size_t i = 0; i < count && bytes; ++i) {
    const std::size_t n = parts[i].iov_len < bytes ? parts[i].iov_len : bytes;
    h->talk.pass(w, static_cast<const char*>(parts[i].iov_base), n, note_rules{d, v});
    bytes -= n;
  }
  if (h->talk.over()) http_leave_alone(d);
  unlock(d);
}

void http_skipped(descriptor& d, http::way w, std::uint64_t bytes) {
  http_line* h = http_of(d);
  if (!h) return;
  if (!lock(d)) return http_leave_alone(d);
  h->talk.skip(w, bytes);
  if (h->talk.over()) http_leave_alone(d);
  unlock(d);
}

http_message http_ahead(descriptor& d, const rule_view& v, http::way w, const iovec* parts, std::size_t count, std::uint64_t bytes) {
  http_message out;
  http_line* h = http_of(d);
  if (!h || !lock(d)) return out;
  const auto* first = count ? static_cast<const char*>(parts[0].iov_base) : nullptr;
  const std::size_t first_length = count ? (parts[0].iov_len < bytes ? parts[0].iov_len : bytes) : 0;
  if (h->talk.follows(w, first, first_length)) {
    out.answers = !h->talk.carries_requests(w);
    h->talk.announce(w, first, first_length, note_rules{d, v});
    http::parser ahead = h->talk.parser_of(w);
    out.begins = ahead.at_start();
    if (const http::request_note* note = h->talk.current(w); note && out.answers) ahead.answers(note->method);
    out.known = true;
    std::uint64_t shown = 0;
    bool complete = false;
    for (std::size_t i = 0; i < count && bytes && !complete; ++i) {
      const auto* p = static_cast<const char*>(parts[i].iov_base);
      std::size_t n = parts[i].iov_len < bytes ? parts[i].iov_len : bytes;
      bytes -= n;
      for (std::size_t taken; n && !complete; p += taken, n -= taken, shown += taken) {
        const http::step s = ahead.take(p, n, taken);
        if (s == http::step::left_alone) out.known = h->talk.parser_of(w).over() ? false : !out.begins;  // what follows is not HTTP
        complete = s == http::step::message || s == http::step::left_alone;
      }
    }
    const std::uint64_t rest = complete ? 0 : ahead.body_ahead();
    out.ends = rest > ~shown ? ~std::uint64_t{0} : shown + rest;
  }
  unlock(d);
  return out;
}

void http_filter(descriptor& d, const rule_view& v, http::way w, const http_message& m, std::uint64_t (&mask)[4]) {
  http_line* h = m.known ? http_of(d) : nullptr;
  const bool locked = h && lock(d);
  filter(v, locked ? h->talk.current(w) : nullptr, locked, m.answers, locked && h->talk.decided(w), mask);
  if (locked) unlock(d);
}

void http_filter_out(const rule_view& v, std::uint64_t (&mask)[4]) { filter(v, nullptr, false, false, false, mask); }

void http_decided(descriptor& d, http::way w) {
  http_line* h = http_of(d);
  if (!h || !lock(d)) return;
  if (h->talk.current(w) || !h->talk.carries_requests(w)) h->talk.decide(w);
  unlock(d);
}

bool http_acts_on_calls(const rule_view& v, const std::uint64_t (&mask)[4], abi::class_set acting) {
  for (unsigned w = 0; w < 4; ++w)
    for (std::uint64_t bits = mask[w] & v.mask[w]; bits; bits &= bits - 1) {
      const abi::rule& r = v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))];
      const bool by_arrival = acting == abi::classes::stream_in && (core::of(r.kind) & core::arrival_effects);
      if ((r.flags & abi::rule_flags::http) && (r.classes & acting) && !by_arrival) return true;
    }
  return false;
}

http_portion http_arrival(descriptor& d, int fd, const rule_view& v, std::uint64_t offset, std::uint64_t fresh) {
  http_portion out{fresh, {}, {}, {}, false};
  for (unsigned w = 0; w < 4; ++w) out.plain[w] = out.message[w] = d.mask[w] & v.mask[w];
  http_filter_out(v, out.plain);
  for (unsigned w = 0; w < 4; ++w) out.message[w] &= ~out.plain[w];
  const auto none = [&] { for (auto& m : out.message) m = 0; };
  http_line* h = http_of(d);
  if (!h || h->talk.over()) { none(); return out; }

  if (!h->arriving_followed && offset == 0) {  // nothing is waiting: what arrives stands where the program reads
    h->arriving = h->talk.parser_of(http::way::in);
    h->arriving_answer = h->talk.answered();
    h->arriving_followed = true;
    if (h->arriving.at_start()) h->arriving_decided = h->arriving_noted = false;
  }
  const bool answers = !h->talk.carries_requests(http::way::in);
  std::uint64_t used = 0;
  bool ended = false;
  if (h->arriving_followed && h->arriving.body_ahead()) {
    used = h->arriving.body_ahead() < fresh ? h->arriving.body_ahead() : fresh;
    h->arriving.skip(used);
    ended = h->arriving.at_start();
  } else if (h->arriving_followed) {
    char window[http_window];
    const long got = sys::call(SYS_recvfrom, fd, window, sizeof window, MSG_PEEK | MSG_DONTWAIT, nullptr, nullptr);
    const std::uint64_t shown = got > 0 ? static_cast<std::uint64_t>(got) : 0;
    const std::uint64_t stop = offset + fresh < shown ? offset + fresh : shown;
    if (offset < shown && !h->talk.follows(http::way::in, window + offset, stop - offset)) {
      h->arriving_followed = false;
    } else {
      for (std::size_t taken; offset + used < stop && !ended; used += taken) {
        if (answers)
          if (const http::request_note* note = h->talk.note_at(h->arriving_answer)) h->arriving.answers(note->method);
        const http::step s = h->arriving.take(window + offset + used, stop - offset - used, taken);
        if (s == http::step::start_line && !answers) {
          h->arriving_note.rules_count = 0;
          note_rules{d, v}(h->arriving, h->arriving_note);
          h->arriving_noted = true;
        }
        if (s == http::step::left_alone) { used = fresh - taken; break; }
        ended = s == http::step::message;
      }
      if (!ended && used < fresh) {
        if (const std::uint64_t more = h->arriving.body_ahead()) {
          const std::uint64_t part = more < fresh - used ? more : fresh - used;
          h->arriving.skip(part);
          used += part;
          ended = h->arriving.at_start();
        } else {  // more than can be looked at: it counts as a part of this message, until all of it was read
          h->arriving_followed = false;
          used = fresh;
        }
      }
    }
  }
  if (used) out.bytes = used;
  const http::request_note* note = answers ? h->talk.note_at(h->arriving_answer) : h->arriving_noted ? &h->arriving_note : nullptr;
  const bool known = (answers || h->arriving_noted) && !h->arriving.over() && (h->arriving_followed || used);
  filter(v, note, known, answers, h->arriving_decided, out.message);
  if (h->arriving_held.count) {
    h->arriving_held.drop_ended(sys::now_ns());
    out.held = h->arriving_held;
  }
  if (known) h->arriving_decided = true;
  out.ends = ended;
  if (ended) {
    h->arriving_decided = h->arriving_noted = false;
    h->arriving_held.count = 0;
    if (answers && !h->arriving.interim() && h->talk.note_at(h->arriving_answer)) ++h->arriving_answer;
  }
  return out;
}

void http_arrival_delayed(descriptor& d, const shares& held) {
  if (http_line* h = http_of(d)) h->arriving_held = held;
}

void http_describe(const descriptor& d, http::way w, char* text, std::size_t room) {
  const http_line* h = d.http.load(std::memory_order_acquire);
  const http::request_note* note = h && !d.http_over.load(std::memory_order_relaxed) ? h->talk.current(w) : nullptr;
  if (!note) return;
  const std::size_t n = strnlen(text, room), scheme = 7;
  if (n + scheme + 1 >= room) return;
  memmove(text + scheme, text, n);
  memcpy(text, "http://", scheme);
  std::size_t at = n + scheme;
  for (unsigned i = 0; i < http::request_note::shown_max && note->path[i] && at + 1 < room; ++i) text[at++] = note->path[i];
  text[at] = 0;
}

}  // namespace chaos
