// pause: the calling thread waits for T, whether or not it asked to block; or all threads, each at its next call.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::pause {

inline void apply(core::fired_rule& f, const situation&, verdict& v) {
  f.delay_ns = f.rule->delay_ns;
  if (f.rule->dry_run) return;
  v.pause_ns += f.delay_ns;
  v.pause_all |= (f.rule->flags & abi::rule_flags::process_wide) != 0;
}

}  // namespace chaos::effects::pause
