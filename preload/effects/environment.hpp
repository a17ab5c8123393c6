// unset, replace: a variable is not there, or has another value. What the caller gets is hooks/environment's to say.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::environment {

inline void apply(core::fired_rule& f, const situation&, verdict& v) {
  if (f.rule->dry_run) return;
  v.end = ending::error;
  v.ender = &f;
}

}  // namespace chaos::effects::environment
