// slow_close: the end of the connection reaches the peer T later.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::slow_close {

inline void apply(core::fired_rule& f, const situation&, verdict& v) {
  f.delay_ns = f.rule->delay_ns;
  if (!f.rule->dry_run) v.delay_ns += f.delay_ns;
}

}  // namespace chaos::effects::slow_close
