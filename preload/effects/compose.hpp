// The one place that knows all effects: turns what the judge let fire into a verdict. A rule that fired but found
// nothing to do (no segment was lost, T has not passed) is taken off the list, and its injection given back.
#pragma once
#include "corrupt.hpp"
#include "down.hpp"
#include "enomem.hpp"
#include "error.hpp"
#include "latency.hpp"
#include "loss.hpp"
#include "observe.hpp"
#include "reset_peer.hpp"
#include "slicer.hpp"

namespace chaos::effects {

inline verdict compose(core::judgement& j, const situation& s, std::uint64_t now_ns) {
  verdict v;
  unsigned kept = 0;
  for (unsigned i = 0; i < j.count; ++i) {
    core::fired_rule f = j.fired[i];
    core::fired_rule& place = j.fired[kept];
    place = f;
    bool took = true;
    switch (f.rule->kind) {
      case abi::effect::latency: latency::apply(place, s, v); break;
      case abi::effect::error: error::apply(place, s, v); took = place.error != 0; break;
      case abi::effect::down: down::apply(place, s, v); break;
      case abi::effect::loss: took = loss::apply(place, s, v); break;
      case abi::effect::corrupt: corrupt::apply(place, s, v); break;
      case abi::effect::slicer: slicer::apply(place, s, v); break;
      case abi::effect::reset_peer: took = reset_peer::apply(place, s, v, now_ns); break;
      case abi::effect::enomem: enomem::apply(place, s, v); break;
      case abi::effect::observe: observe::apply(place, s, v); break;
      case abi::effect::count: took = false; break;
    }
    if (!took) {
      f.state->fired.fetch_sub(1, std::memory_order_relaxed);
      continue;
    }
    ++kept;
    if (v.end != ending::none) break;
  }
  j.count = kept;
  return v;
}

}  // namespace chaos::effects
