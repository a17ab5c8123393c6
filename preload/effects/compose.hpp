// The one place that knows all effects: turns what the judge let fire into a verdict. A rule that fired but found
// nothing to do (no segment was lost, T has not passed, another ended the call before it) is taken off the list, and its
// injection given back.
#pragma once
#include "bandwidth.hpp"
#include "corrupt.hpp"
#include "crash.hpp"
#include "down.hpp"
#include "duplicate.hpp"
#include "emfile.hpp"
#include "enomem.hpp"
#include "environment.hpp"
#include "error.hpp"
#include "full.hpp"
#include "http_error.hpp"
#include "io_error.hpp"
#include "latency.hpp"
#include "limit_data.hpp"
#include "loss.hpp"
#include "observe.hpp"
#include "partition.hpp"
#include "pause.hpp"
#include "reorder.hpp"
#include "reset_peer.hpp"
#include "slicer.hpp"
#include "slow_close.hpp"
#include "timeout.hpp"

namespace chaos::effects {

inline void compose(core::judgement& j, const situation& s, verdict& v) {
  v = no_verdict;
  unsigned kept = 0, i = 0;
  for (; i < j.count && v.end == ending::none; ++i) {
    core::fired_rule& place = j.fired[kept];
    if (i != kept) place = j.fired[i];
    bool took = true;
    switch (place.rule->kind) {
      case abi::effect::latency: latency::apply(place, s, v); break;
      case abi::effect::error: error::apply(place, s, v); took = place.error != 0; break;
      case abi::effect::down: down::apply(place, s, v); break;
      case abi::effect::loss: took = loss::apply(place, s, v); break;
      case abi::effect::corrupt: corrupt::apply(place, s, v); break;
      case abi::effect::slicer: took = slicer::apply(place, s, v); break;
      case abi::effect::reset_peer: took = reset_peer::apply(place, s, v); break;
      case abi::effect::bandwidth: took = bandwidth::apply(place, s, v); break;
      case abi::effect::timeout: timeout::apply(place, s, v); break;
      case abi::effect::slow_close: slow_close::apply(place, s, v); break;
      case abi::effect::limit_data: took = limit_data::apply(place, s, v, j); break;
      case abi::effect::duplicate: took = duplicate::apply(place, s, v); break;
      case abi::effect::reorder: took = reorder::apply(place, s, v); break;
      case abi::effect::partition: took = partition::apply(place, s, v); break;
      case abi::effect::full: took = full::apply(place, s, v, j); break;
      case abi::effect::io_error: io_error::apply(place, s, v); took = place.error != 0; break;
      case abi::effect::emfile: took = emfile::apply(place, s, v, j); break;
      case abi::effect::dns: error::apply(place, s, v); took = place.error != 0; break;
      case abi::effect::unset:
      case abi::effect::replace: environment::apply(place, s, v); break;
      case abi::effect::crash: crash::apply(place, s, v); break;
      case abi::effect::pause: pause::apply(place, s, v); break;
      case abi::effect::enomem: took = enomem::apply(place, s, v); break;
      case abi::effect::http_error: http_error::apply(place, s, v); break;
      case abi::effect::observe: observe::apply(place, s, v); break;
      case abi::effect::count: took = false; break;
    }
    if (!took) {
      place.state->fired.fetch_sub(1, std::memory_order_relaxed);
      continue;
    }
    ++kept;
  }
  for (; i < j.count; ++i) j.fired[i].state->fired.fetch_sub(1, std::memory_order_relaxed);
  j.count = kept;
}

}  // namespace chaos::effects
