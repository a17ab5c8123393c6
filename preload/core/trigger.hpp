// When does a rule that applies to a call take effect? --toxicity, --after, --when, --times, --space, --probability, in
// this order. Pure but for the state it is handed; the state belongs to one scope (a connection, a thread, …).
#pragma once
#include <atomic>
#include <cstdint>

#include "chaos/abi/rule.hpp"
#include "chaos/abi/trigger_state.hpp"
#include "prng.hpp"

namespace chaos::core {

using rule_state = abi::trigger_state;  // of one rule within one scope

constexpr bool when_says(const abi::when_clause& w, std::uint64_t operation) {  // operation counts from 1
  if (w.pattern_length) {
    const std::uint64_t length = w.pattern_length < 64 ? w.pattern_length : 64;
    return w.pattern >> ((operation - 1) % length) & 1;
  }
  if (!w.first) return true;
  if (operation < w.first || (w.last && operation > w.last)) return false;
  if (w.step) return (operation - w.first) % w.step == 0;
  return w.last ? true : operation == w.first;
}

struct trigger_result {
  bool fires = false;
  std::uint64_t operation = 0;
};

// `scope_key()` names the rule and the scope; toxicity is drawn from it alone, so that it holds for the scope's life. It is
// asked only when something is drawn.
// `passed`: bytes that went by in this scope since the rule first met it.
template <class Key>
trigger_result pull(const abi::rule& r, rule_state& s, Key scope_key, std::uint64_t passed) {
  trigger_result out;
  out.operation = s.operations.fetch_add(1, std::memory_order_relaxed) + 1;
  if (r.toxicity < abi::certain && !draws(scope_key(), 0).chance(r.toxicity)) return out;
  if (passed < r.after_bytes) return out;
  if (!when_says(r.when, out.operation)) return out;
  if (r.space_bytes && s.fired.load(std::memory_order_relaxed) &&
      passed - s.fired_at_bytes.load(std::memory_order_relaxed) < r.space_bytes)
    return out;
  if (r.chance < abi::certain && (r.chance == 0 || !draws(scope_key(), out.operation).chance(r.chance))) return out;
  std::uint64_t fired = s.fired.load(std::memory_order_relaxed);
  do {
    if (fired >= r.times) return out;
  } while (!s.fired.compare_exchange_weak(fired, fired + 1, std::memory_order_relaxed));
  s.fired_at_bytes.store(passed, std::memory_order_relaxed);
  out.fires = true;
  return out;
}

}  // namespace chaos::core
