// crash: the process ends here, by exit status or by signal.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::crash {

inline void apply(core::fired_rule& f, const situation&, verdict& v) {
  if (f.rule->dry_run) return;
  v.end = ending::crash;
  v.ender = &f;
}

}  // namespace chaos::effects::crash
