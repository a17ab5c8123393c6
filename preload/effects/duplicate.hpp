// duplicate: a datagram comes, or goes, twice.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::duplicate {

inline bool apply(core::fired_rule& f, const situation&, verdict& v) {
  if (!core::draws(f.key.with(6), f.operation).chance(f.rule->amount)) return false;
  if (!f.rule->dry_run) v.twice = true;
  return true;
}

}  // namespace chaos::effects::duplicate
