// partition: nothing passes between the process and these addresses. Streams stand still and go on when it heals;
// datagrams are gone. With --drop P only that share is lost, as `loss` loses it.
#pragma once
#include <cerrno>

#include "loss.hpp"

namespace chaos::effects::partition {

inline bool apply(core::fired_rule& f, const situation& s, verdict& v) {
  if (f.rule->amount && f.rule->amount < abi::certain) return loss::apply(f, s, v);
  const bool connecting = (s.acts_as & abi::classes::connect) != 0;
  f.error = s.stream || connecting ? ETIMEDOUT : 0;
  if (f.rule->dry_run) return true;
  if (!s.stream && !connecting) {
    v.drop = true;
    return true;
  }
  v.end = ending::blackhole;
  v.error = f.error;
  v.ender = &f;
  return true;
}

}  // namespace chaos::effects::partition
