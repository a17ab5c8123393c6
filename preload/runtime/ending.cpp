#include "ending.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "connection.hpp"
#include "decide.hpp"
#include "delay_line.hpp"
#include "http.hpp"

namespace chaos {
namespace {

constexpr core::effect_set resets = core::of(abi::effect::reset_peer);

// What the rules that reset connections say to this wait. Those about HTTP messages, and those with --on, say it to calls only.
void ask(descriptor& d, const rule_view& v, abi::function_id function, const void* caller, bool unasked, std::uint64_t now, decision& made) {
  std::uint64_t mask[4];
  for (unsigned w = 0; w < 4; ++w) {
    mask[w] = d.mask[w] & v.mask[w];
    for (std::uint64_t bits = mask[w]; bits; bits &= bits - 1) {
      const abi::rule& r = v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))];
      if (unasked ? !core::ends_unasked(r) : !r.functions.empty() || (r.flags & abi::rule_flags::http)) mask[w] &= ~(bits & -bits);
    }
  }
  decide({.function = function, .acts_as = abi::classes::stream_in, .kinds = resets, .now_ns = now}, mask, &d, v, caller, made);
}

// Only one of several that wait may bring the end about.
bool take_end(descriptor& d, std::uint32_t generation) {
  if (!lock(d)) return false;
  delay_line* const line = d.line.load(std::memory_order_acquire);
  const bool mine = line && line->ends_rule;
  if (mine) {
    line->ends_rule = 0;
    line->end_asked = generation;
  }
  unlock(d);
  return mine;
}

}  // namespace

bool connection_stands(const descriptor& d, int fd) {
  if (d.broken.load(std::memory_order_relaxed)) return false;
  if (const delay_line* line = d.line.load(std::memory_order_acquire); line && line->reset_owed) return false;
  if (d.kind != descriptor_kind::tcp) return true;
  tcp_info now{};
  socklen_t n = sizeof now;
  return sys::get_option(fd, IPPROTO_TCP, TCP_INFO, &now, &n) == 0 && now.tcpi_state != TCP_SYN_SENT && now.tcpi_state != TCP_CLOSE;
}

bool may_end(const descriptor& d, const rule_view& v) {
  if (!v.any_by_time || d.listening || !(d.role & abi::classes::stream_in)) return false;
  if (const delay_line* l = d.line.load(std::memory_order_relaxed); l && l->ends_rule) return true;
  for (unsigned w = 0; w < 4; ++w)
    for (std::uint64_t bits = d.mask[w] & v.mask[w]; bits; bits &= bits - 1) {
      const abi::rule& r = v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))];
      if (core::ends_unasked(r) && (r.classes & abi::classes::stream_in)) return true;
    }
  return false;
}

void note_end(descriptor& d, std::uint32_t rule, std::uint64_t at_ns) {
  if (!lock(d)) return;
  if (delay_line* const line = line_of(d); line && (!line->ends_rule || line->ends_rule == rule || at_ns < line->ends_ns)) {
    line->ends_rule = rule;
    line->ends_ns = at_ns;
  }
  unlock(d);
}

std::uint64_t ends_at(const descriptor& d, std::uint64_t now_ns) {
  const delay_line* const line = d.line.load(std::memory_order_acquire);
  const std::uint32_t rule = line ? line->ends_rule : 0;
  return rule && rule_in_force(rule, now_ns) ? line->ends_ns : 0;
}

void learn_end(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller) {
  if (!may_end(d, v)) return;
  const std::uint32_t generation = v.generation.load(std::memory_order_relaxed);
  const std::uint64_t now = sys::now_ns();
  if (const delay_line* line = d.line.load(std::memory_order_acquire); line && (line->end_asked == generation || ends_at(d, now))) return;
  if (!connection_stands(d, fd)) return;
  if (is_wait(function)) ask_whether_it_stands(d, fd, v, function, caller);  // the time of `timeout T` begins
  decision made;
  ask(d, v, function, caller, true, now, made);
  const std::uint32_t rule = made.verdict.ends_rule;
  std::uint64_t at = made.verdict.ends_ns;
  const bool at_once = made.verdict.end == effects::ending::reset;
  // Without a time it is the first byte that meets it: a connect that is waited for has been made, as it is on such a network.
  const std::uint32_t ender = !at_once ? rule : made.verdict.ender->asked_delay_ns ? made.verdict.ender->id : 0;
  if (at_once) at = now;
  undecide(made);
  if (!lock(d)) return;
  if (delay_line* const line = line_of(d)) {
    line->end_asked = generation;
    line->ends_rule = ender;
    line->ends_ns = at;
  }
  unlock(d);
}

void end_when_due(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller) {
  const std::uint64_t now = sys::now_ns(), end = ends_at(d, now);
  if (!end || end > now || !take_end(d, v.generation.load(std::memory_order_relaxed))) return;
  decision made;
  ask(d, v, function, caller, false, now, made);
  if (made.verdict.end != effects::ending::reset || !connection_stands(d, fd)) {
    const effects::verdict said = made.verdict;
    undecide(made);
    if (said.ends_ns) note_end(d, said.ends_rule, said.ends_ns);  // not yet
    return;
  }
  if (d.kind == descriptor_kind::tcp) {
    reset_connection(fd);
  } else {
    sys::call(SYS_shutdown, fd, SHUT_RDWR);
    if (lock(d)) {
      if (delay_line* const line = d.line.load(std::memory_order_acquire)) line->reset_owed = true;
      unlock(d);
    }
  }
  report_fired(made, d, fd, 0, caller, abi::event_flags::gated);
}

std::uint64_t follow_end(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller) {
  if (!v.any_by_time) return 0;
  learn_end(d, fd, v, function, caller);
  end_when_due(d, fd, v, function, caller);
  return ends_at(d, sys::now_ns());
}

bool take_owed_reset(descriptor& d) {
  delay_line* line = d.line.load(std::memory_order_acquire);
  if (!line || !line->reset_owed || !lock(d)) return false;
  line = d.line.load(std::memory_order_acquire);
  const bool owed = line && line->reset_owed;
  if (owed) line->reset_owed = false;
  unlock(d);
  if (owed) d.broken.store(true, std::memory_order_relaxed);
  return owed;
}

}  // namespace chaos
