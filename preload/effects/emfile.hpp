// emfile: after N more descriptors no new one can be made.
#pragma once
#include <cerrno>

#include "verdict.hpp"

namespace chaos::effects::emfile {

inline bool apply(core::fired_rule& f, const situation& s, verdict& v) {
  const abi::class_set makes = abi::function_table[static_cast<unsigned>(s.function)].classes;
  if (!(makes & abi::classes::descriptor)) return false;  // rename, mkdir: no descriptor
  if (f.state->memory.fetch_add(1, std::memory_order_relaxed) < f.rule->bytes) return false;
  f.error = EMFILE;
  if (f.rule->dry_run) return true;
  v.end = ending::error;
  v.error = EMFILE;
  v.ender = &f;
  return true;
}

}  // namespace chaos::effects::emfile
