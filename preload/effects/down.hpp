// down: the service is not there. New connections are refused, unreachable or never answered; live ones break alike.
#pragma once
#include <cerrno>

#include "verdict.hpp"

namespace chaos::effects::down {

inline void apply(core::fired_rule& f, const situation& s, verdict& v) {
  const abi::down_how how = f.rule->how;
  const bool connecting = (s.acts_as & abi::classes::connect) != 0;
  f.error = how == abi::down_how::blackhole ? ETIMEDOUT
            : how == abi::down_how::unreachable ? EHOSTUNREACH
            : connecting || !s.stream ? ECONNREFUSED : ECONNRESET;
  if (f.rule->dry_run) return;
  v.end = how == abi::down_how::blackhole ? ending::blackhole
          : how == abi::down_how::unreachable ? ending::unreachable
          : connecting || !s.stream ? ending::refuse : ending::reset;
  v.error = f.error;
  v.ender = &f;
}

}  // namespace chaos::effects::down
