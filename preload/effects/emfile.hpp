// emfile: after N more descriptors no new one can be made. A call that fails for a reason of its own has used up none.
#pragma once
#include <cerrno>

#include "verdict.hpp"

namespace chaos::effects::emfile {

constexpr std::uint64_t made_by(abi::function_id f) {
  using enum abi::function_id;
  return f == pipe || f == pipe2 || f == socketpair ? 2 : 1;
}

inline bool apply(core::fired_rule& f, const situation& s, verdict& v, core::judgement& j) {
  const abi::class_set makes = abi::function_table[static_cast<unsigned>(s.function)].classes;
  if (!(makes & abi::classes::descriptor)) return false;  // rename, mkdir: no descriptor
  const std::uint64_t wanted = made_by(s.function);
  std::uint64_t used = f.state->memory.load(std::memory_order_relaxed);
  while (f.rule->bytes >= wanted && used <= f.rule->bytes - wanted)
    if (f.state->memory.compare_exchange_weak(used, used + wanted, std::memory_order_relaxed)) {
      j.reserved.add(*f.state, wanted);
      return false;
    }
  f.error = EMFILE;
  if (f.rule->dry_run) return true;
  v.end = ending::error;
  v.error = EMFILE;
  v.ender = &f;
  return true;
}

}  // namespace chaos::effects::emfile
