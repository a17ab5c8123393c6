// reorder: a datagram comes only after --gap later ones. The delay line and hooks/reorder carry it out.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::reorder {

inline constexpr std::uint64_t patience_ns = 50'000'000;  // so long it waits for one that could pass it

inline bool apply(core::fired_rule& f, const situation&, verdict& v) {
  if (!core::draws(f.key.with(8), f.operation).chance(f.rule->amount)) return false;
  if (!f.rule->dry_run) v.overtakers = f.rule->number > 0 ? static_cast<std::uint32_t>(f.rule->number) : 1;
  return true;
}

}  // namespace chaos::effects::reorder
