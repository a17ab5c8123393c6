// enomem: the allocation fails.
#pragma once
#include <cerrno>

#include "verdict.hpp"

namespace chaos::effects::enomem {

inline void apply(core::fired_rule& f, const situation&, verdict& v) {
  f.error = ENOMEM;
  if (f.rule->dry_run) return;
  v.end = ending::error;
  v.error = ENOMEM;
  v.ender = &f;
}

}  // namespace chaos::effects::enomem
