// error: one of the rule's errnos by weight, among those that this function can return.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::error {

// 0 when none of the rule's errnos suits the function: the rule then has not fired after all.
template <class Draw>
std::int32_t choose(const abi::rule& r, abi::function_id function, Draw draw) {
  const unsigned n = r.error_count < abi::error_max ? r.error_count : abi::error_max;
  std::uint64_t total = 0;
  unsigned candidates = 0, candidate = 0;
  for (unsigned i = 0; i < n; ++i) {
    if (!r.errors[i].functions.has(function)) continue;
    total += r.errors[i].weight;
    candidate = i;
    ++candidates;
  }
  if (!total) return 0;
  if (candidates == 1) return r.errors[candidate].error;
  std::uint64_t at = draw().below(total);
  for (unsigned i = 0; i < n; ++i) {
    if (!r.errors[i].functions.has(function)) continue;
    if (at < r.errors[i].weight) return r.errors[i].error;
    at -= r.errors[i].weight;
  }
  return 0;
}

inline void apply(core::fired_rule& f, const situation& s, verdict& v) {
  f.error = choose(*f.rule, s.function, [&] { return core::draws(f.key.with(2), f.operation); });
  if (f.rule->dry_run || !f.error) return;
  v.end = ending::error;
  v.error = f.error;
  v.late = f.rule->late;
  v.ender = &f;
}

}  // namespace chaos::effects::error
