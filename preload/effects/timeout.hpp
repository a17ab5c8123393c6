// timeout: from its first call on the connection carries nothing; T later it closes (0: it stays silent until the rule
// is removed, and what was held then goes on).
#pragma once
#include <cerrno>

#include "verdict.hpp"

namespace chaos::effects::timeout {

inline void apply(core::fired_rule& f, const situation& s, verdict& v) {
  std::uint64_t since = 0;
  if (f.state->memory.compare_exchange_strong(since, s.now_ns, std::memory_order_relaxed)) since = s.now_ns;
  const std::uint64_t until = f.rule->delay_ns ? since + f.rule->delay_ns : 0;
  f.error = ETIMEDOUT;
  if (f.rule->dry_run) return;
  v.end = until && s.now_ns >= until ? ending::close : ending::blackhole;
  v.until_ns = until;
  v.error = f.error;
  v.ender = &f;
}

}  // namespace chaos::effects::timeout
