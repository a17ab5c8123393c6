// full: the disk has SIZE bytes left for files under the path. What makes a file longer counts; overwriting costs
// nothing; the write that meets the end is cut there, and the next one fails.
#pragma once
#include <cerrno>

#include "verdict.hpp"

namespace chaos::effects::full {

inline bool apply(core::fired_rule& f, const situation& s, verdict& v) {
  using abi::function_id;
  const bool syncs = (s.acts_as & abi::classes::sync) != 0;
  const std::uint64_t used = f.state->memory.load(std::memory_order_relaxed);
  const std::uint64_t left = used < f.rule->bytes ? f.rule->bytes - used : 0;
  if (syncs ? left > 0 : s.grows == 0) return false;
  if (!syncs && s.grows <= left) {
    f.state->memory.fetch_add(s.grows, std::memory_order_relaxed);
    return false;
  }
  f.error = ENOSPC;
  if (f.rule->dry_run) return true;
  const std::uint64_t over = s.grows - left;
  if (!syncs && left && s.size > over) {  // as much as still fits
    f.state->memory.fetch_add(left, std::memory_order_relaxed);
    const std::uint64_t fits = s.size - over;
    if (fits < v.cap) v.cap = fits;
    return true;
  }
  v.end = ending::error;
  v.error = ENOSPC;
  v.ender = &f;
  return true;
}

}  // namespace chaos::effects::full
