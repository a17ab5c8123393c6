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

inline std::uint64_t next_operation(rule_state& s) { return s.operations.fetch_add(1, std::memory_order_relaxed) + 1; }

// Would the rule take effect on this operation? Changes nothing.
// `scope_key()` names the rule and the scope; toxicity is drawn from it alone, so that it holds for the scope's life. It is
// asked only when something is drawn.
// `passed`: bytes that went by in this scope since the rule first met it.
template <class Key>
bool would_fire(const abi::rule& r, const rule_state& s, std::uint64_t operation, Key scope_key, std::uint64_t passed) {
  if (r.chance == 0) return false;
  if (r.toxicity < abi::certain && !draws(scope_key(), 0).chance(r.toxicity)) return false;
  if (passed < r.after_bytes) return false;
  if (!when_says(r.when, operation)) return false;
  const std::uint64_t fired = s.fired.load(std::memory_order_relaxed);
  if (fired >= r.times) return false;
  if (r.space_bytes && fired && passed - s.fired_at_bytes.load(std::memory_order_relaxed) < r.space_bytes) return false;
  return r.chance >= abi::certain || draws(scope_key(), operation).chance(r.chance);
}

// `operation`: the number that next_operation() gave.
template <class Key>
trigger_result pull(const abi::rule& r, rule_state& s, std::uint64_t operation, Key scope_key, std::uint64_t passed) {
  trigger_result out;
  out.operation = operation;
  if (!would_fire(r, s, operation, scope_key, passed)) return out;
  std::uint64_t fired = s.fired.load(std::memory_order_relaxed);
  do {
    if (fired >= r.times) return out;
  } while (!s.fired.compare_exchange_weak(fired, fired + 1, std::memory_order_relaxed));
  s.fired_at_bytes.store(passed, std::memory_order_relaxed);
  out.fires = true;
  return out;
}

}  // namespace chaos::core
