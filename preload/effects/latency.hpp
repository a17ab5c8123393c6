// latency: what arrives, is opened, synced or looked up comes later by a drawn delay.
#pragma once
#include "preload/core/distribution.hpp"
#include "verdict.hpp"

namespace chaos::effects::latency {

inline void apply(core::fired_rule& f, const situation&, verdict& v) {
  core::draws d(f.key.with(1), f.operation);
  f.delay_ns = core::draw_delay(*f.rule, d, *f.state);
  if (!f.rule->dry_run) v.delay_ns += f.delay_ns;
}

}  // namespace chaos::effects::latency
