// loss: a datagram is gone; a stream can not lose bytes, so a lost segment is the retransmission that it causes: 200 ms,
// doubling with each further loss in a row; a lost SYN 1 s, doubling (RFC 6298). Models as in tc-netem: random, or gemodel
// (Gilbert-Elliott: p, r, 1-h, 1-k). With a correlation each outcome is, with that probability, the last one again: the
// share lost stays P. (netem blends random numbers instead, which loses 13 % where 30 % with 50 % were asked for.)
#pragma once
#include "verdict.hpp"

namespace chaos::effects::loss {

inline constexpr std::uint64_t segment_timeout_ns = 200'000'000, syn_timeout_ns = 1'000'000'000;
inline constexpr unsigned retries_max = 6;

inline bool lost(const abi::rule& r, core::draws& d, core::rule_state& s) {
  if (r.model == abi::loss_model::gemodel) {
    const std::uint64_t bad = s.memory.load(std::memory_order_relaxed);
    const bool now_bad = bad ? !d.chance(r.gemodel[1]) : d.chance(r.gemodel[0]);
    s.memory.store(now_bad, std::memory_order_relaxed);
    return d.chance(now_bad ? r.gemodel[2] : r.gemodel[3]);
  }
  if (r.correlation) {
    const std::uint64_t last = s.memory.load(std::memory_order_relaxed);  // 0: none yet; 1: kept; 2: lost
    if (last && d.chance(r.correlation)) return last == 2;
  }
  const bool gone = d.chance(r.amount);
  if (r.correlation) s.memory.store(gone ? 2 : 1, std::memory_order_relaxed);
  return gone;
}

// False when nothing was lost: the rule was asked and said no.
inline bool apply(core::fired_rule& f, const situation& s, verdict& v) {
  const bool connecting = (s.acts_as & abi::classes::connect) != 0;
  if (connecting && !s.stream) return false;  // it sends nothing
  core::draws d(f.key.with(3), f.operation);
  if (!lost(*f.rule, d, *f.state)) return false;
  if (!s.stream && !connecting) {
    if (!f.rule->dry_run) v.drop = true;
    return true;
  }
  std::uint64_t wait = connecting ? syn_timeout_ns : segment_timeout_ns;
  f.delay_ns = wait;
  for (unsigned i = 1; i < retries_max && lost(*f.rule, d, *f.state); ++i) f.delay_ns += wait <<= 1;
  if (!f.rule->dry_run) v.delay_ns += f.delay_ns;
  return true;
}

}  // namespace chaos::effects::loss
