// reset_peer: the connection is reset, T after the rule first met it (0: at once).
#pragma once
#include <cerrno>

#include "verdict.hpp"

namespace chaos::effects::reset_peer {

// False while T has not passed: the rule matched but did not take effect.
inline bool apply(core::fired_rule& f, const situation& s, verdict& v) {
  if (f.rule->delay_ns) {
    std::uint64_t since = 0;
    if (f.state->memory.compare_exchange_strong(since, s.now_ns, std::memory_order_relaxed)) since = s.now_ns;
    const std::uint64_t end = since + f.rule->delay_ns;
    if (s.now_ns < end) {  // it may be before `since`: another thread looked at the clock later, and came here first
      if (!f.rule->dry_run && (!v.ends_ns || end < v.ends_ns)) v.ends_ns = end, v.ends_rule = f.id;
      return false;
    }
  }
  f.error = ECONNRESET;
  if (f.rule->dry_run) return true;
  v.end = ending::reset;
  v.error = ECONNRESET;
  v.ender = &f;
  return true;
}

}  // namespace chaos::effects::reset_peer
