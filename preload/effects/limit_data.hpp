// limit_data: the connection ends once it has carried so many bytes, both ways together.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::limit_data {

// False while there is room: the rule then only watches, and whoever makes the call ends the connection at the limit.
inline bool apply(core::fired_rule& f, const situation& s, verdict& v, core::judgement& j) {
  std::uint64_t began = 0;  // plus 1
  if (f.state->memory.compare_exchange_strong(began, s.passed + 1, std::memory_order_relaxed)) began = s.passed + 1;
  const std::uint64_t used = s.passed + 1 - began;
  const std::uint64_t left = used < f.rule->bytes ? f.rule->bytes - used : 0;
  if (left && !f.rule->dry_run && (!v.limited || left < v.limit)) {
    j.limiting = f;
    v.limited = true;
    v.limit = left;
    if (left < v.cap) v.cap = left;
  }
  if (left) return false;
  if (f.rule->dry_run) return true;
  v.end = ending::close;
  v.ender = &f;
  return true;
}

}  // namespace chaos::effects::limit_data
