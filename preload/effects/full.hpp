// full: the disk has SIZE bytes left for files under the path. What makes a file longer counts; overwriting costs
// nothing; the write that meets the end is cut there, and the next one fails. What a call does not write after all is left for others.
#pragma once
#include <cerrno>

#include "verdict.hpp"

namespace chaos::effects::full {

inline bool apply(core::fired_rule& f, const situation& s, verdict& v, core::judgement& j) {
  using abi::function_id;
  const bool syncs = (s.acts_as & abi::classes::sync) != 0;
  if (!syncs && s.grows == 0) return false;
  // Threads share the disk: what one takes, no other has.
  std::uint64_t used = f.state->memory.load(std::memory_order_relaxed), left, taken;
  do {
    left = used < f.rule->bytes ? f.rule->bytes - used : 0;
    const bool cut = s.grows > left;  // as much as still fits, where the call can be cut
    taken = syncs || (cut && (s.size <= s.grows - left || f.rule->dry_run)) ? 0 : cut ? left : s.grows;
  } while (taken && !f.state->memory.compare_exchange_weak(used, used + taken, std::memory_order_relaxed));
  if (taken) j.reserved.add(*f.state, taken, s.size > s.grows ? s.size - s.grows : 0);
  if (syncs ? left > 0 : s.grows <= left) return false;
  f.error = ENOSPC;
  if (f.rule->dry_run) return true;
  if (taken) {
    const std::uint64_t fits = s.size - s.grows + left;
    if (fits < v.cap) v.cap = fits;
    return true;
  }
  v.end = ending::error;
  v.error = ENOSPC;
  v.ender = &f;
  return true;
}

}  // namespace chaos::effects::full
