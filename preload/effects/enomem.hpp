// enomem: the allocation fails; with --budget only when more than that would be outstanding.
#pragma once
#include <cerrno>

#include "verdict.hpp"

namespace chaos::effects::enomem {

inline bool apply(core::fired_rule& f, const situation& s, verdict& v) {
  if ((f.rule->flags & abi::rule_flags::has_budget) && s.outstanding + s.size <= f.rule->bytes) return false;
  f.error = ENOMEM;
  if (f.rule->dry_run) return true;
  v.end = ending::error;
  v.error = ENOMEM;
  v.ender = &f;
  return true;
}

}  // namespace chaos::effects::enomem
