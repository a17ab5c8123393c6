// The judge: rules + facts + key → which rules take effect on this call. Pure: everything it may ask is behind `Host`,
// so that tests, fuzzers and benchmarks link it without any preload.
#pragma once
#include <cstdint>

#include "chaos/abi/rule_page.hpp"
#include "prng.hpp"
#include "trigger.hpp"

namespace chaos::core {

inline constexpr unsigned fired_max = 16;  // rules that may take effect on one call; later ones are not reached

using effect_set = std::uint32_t;
constexpr effect_set of(abi::effect e) { return effect_set{1} << (static_cast<unsigned>(e) & 31); }  // whatever a broken page says

// Effects that act on bytes as they arrive, not on the call that reads them: they are judged once for each arrival.
inline constexpr effect_set arrival_effects = of(abi::effect::latency) | of(abi::effect::loss) | of(abi::effect::bandwidth);
// A stream stands still: the call that reads is told, and a wait before it must not promise it anything.
inline constexpr effect_set standing_effects = of(abi::effect::partition) | of(abi::effect::timeout);
// They end a connection, and that once: what is still sent on it afterwards the kernel refuses by itself.
inline constexpr effect_set ending_effects = of(abi::effect::limit_data) | of(abi::effect::timeout) | of(abi::effect::reset_peer);
// It ends a connection T later, whatever happens on it: a wait need not ask a call whether it is meant.
constexpr bool ends_unasked(const abi::rule& r) {
  const bool ends = r.kind == abi::effect::reset_peer || (r.kind == abi::effect::timeout && r.delay_ns);
  return ends && !r.dry_run && r.functions.empty() && r.chance >= abi::certain && !r.when.first && !r.when.pattern_length && !r.space_bytes &&
         !r.after_bytes && r.size_low == 0 && r.size_high == UINT64_MAX && !r.thread_glob && !r.caller_glob && !r.stack_glob &&
         !(r.flags & abi::rule_flags::http);
}
// On accept: judged for the connection that waits, not for the call that asks for one.
inline constexpr effect_set accept_effects = of(abi::effect::latency);
// For datagrams these too: whether one comes at all, and how often.
inline constexpr effect_set datagram_arrival_effects = arrival_effects | of(abi::effect::partition) | of(abi::effect::duplicate) | of(abi::effect::reorder);

struct facts_of_call {
  abi::function_id function;
  abi::class_set acts_as;          // one class, or several for a call that is several things (accept)
  effect_set kinds = ~effect_set{0};
  std::uint64_t size = 0;          // what --size looks at
  std::uint64_t bytes = 0;         // what --after and --space count where there is no connection
  std::uint64_t now_ns = 0;        // 0: the clock is read only when a rule is about to take effect
  std::uint64_t grows = 0;         // bytes by which a file would become longer
  std::uint64_t outstanding = 0;   // allocated and not freed, for --budget
};

struct fired_rule {
  const abi::rule* rule;           // for deciding only: the bank may be written anew while the call waits. What follows is its own
  rule_state* state;
  random_key key;                  // of the scope
  std::uint64_t operation;
  std::uint64_t delay_ns;          // filled in by effects
  std::int32_t error;              // filled in by effects
  std::uint32_t id, slot;
  abi::effect kind;
  bool dry_run, late;
  abi::class_set classes;          // from here on as in the rule
  std::uint32_t flags, bits;
  std::int32_t number;
  std::uint64_t bytes, asked_delay_ns;
  abi::probability amount;
};

constexpr fired_rule firing(const abi::rule& r, rule_state& state, random_key key, std::uint64_t operation) {
  return {&r, &state, key, operation, 0, 0, r.id, r.slot, r.kind, r.dry_run != 0, r.late != 0, r.classes, r.flags, r.bits, r.number, r.bytes, r.delay_ns, r.amount};
}

// The call may have waited: by now its rule may be gone, and the state another's.
inline void take_one_back(std::atomic<std::uint64_t>& count) {
  std::uint64_t n = count.load(std::memory_order_relaxed);
  while (n && !count.compare_exchange_weak(n, n - 1, std::memory_order_relaxed)) {}
}
inline bool is_state_of(const rule_state& s, std::uint32_t rule) {
  const std::uint32_t whose = s.rule.load(std::memory_order_relaxed);
  return whose == rule || !whose;  // that of a whole session names none
}
inline void give_back(const fired_rule& f) {
  if (is_state_of(*f.state, f.id)) take_one_back(f.state->fired);
}

// What a budget (emfile, full) gave to a call: to be given back as far as the call makes no use of it.
struct reservation {
  rule_state* state;
  std::uint32_t rule;              // whose state it was
  std::uint64_t amount;
  std::uint64_t free_bytes;        // that the call may move before it needs any of it; ~0: it is not about bytes
};
inline constexpr std::uint64_t not_bytes = ~std::uint64_t{0};

struct reservations {
  unsigned count = 0;
  reservation all[fired_max];

  void add(rule_state& s, std::uint64_t amount, std::uint64_t free_bytes = not_bytes) {
    all[count++] = {&s, s.rule.load(std::memory_order_relaxed), amount, free_bytes};
  }

  // The call is over. `moved`: bytes, of a call that moves some; not_bytes: it moves none, or nobody knows how many.
  void give_back_unused(bool failed, std::uint64_t moved = not_bytes) {
    for (unsigned i = 0; i < count; ++i) {
      const reservation& r = all[i];
      std::uint64_t used = failed ? 0 : r.amount;
      if (!failed && moved != not_bytes && r.free_bytes != not_bytes) used = moved > r.free_bytes ? moved - r.free_bytes : 0;
      if (used < r.amount && r.state->rule.load(std::memory_order_relaxed) == r.rule)
        r.state->memory.fetch_sub(r.amount - used, std::memory_order_relaxed);
    }
    count = 0;
  }
};

// Kinds whose time is added to a delay; the others that have one hold in ways of their own.
inline constexpr effect_set delaying_effects = of(abi::effect::latency) | of(abi::effect::loss) | of(abi::effect::partition) | of(abi::effect::slow_close);
constexpr bool holds(const fired_rule& f) { return f.delay_ns && !f.dry_run && (of(f.kind) & delaying_effects); }

struct judgement {
  unsigned count = 0;
  unsigned matched = 0;            // rules that were asked, the first 16 of them by counter slot
  fired_rule fired[fired_max];
  std::uint16_t matched_slots[fired_max];
  std::uint32_t asked_rules[fired_max];
  rule_state* asked[fired_max];    // their states
  reservations reserved;
  fired_rule limiting;             // limit_data, while there is room: it fires when the call has moved as much
};

// What is used up is the process's, not each thread's.
inline constexpr effect_set budgets = of(abi::effect::full) | of(abi::effect::emfile);

constexpr abi::scope scope_of(const abi::rule& r, bool on_connection) {
  if (r.counts_in != abi::scope::automatic) return r.counts_in;
  if (of(r.kind) & budgets) return abi::scope::process;
  return on_connection ? abi::scope::connection : abi::scope::thread;
}

// A wait sees data, or a connection, before anybody knows which function will take it: whatever --on names that can.
constexpr bool is_ahead(const facts_of_call& f) {
  return !(abi::function_table[static_cast<unsigned>(f.function)].classes & f.acts_as);
}

constexpr bool could_apply(const abi::rule& r, const facts_of_call& f) {
  return r.id != 0 && (r.classes & f.acts_as) != 0 && (of(r.kind) & f.kinds) != 0 &&
         (r.functions.empty() || r.functions.has(f.function) || is_ahead(f)) && f.size >= r.size_low && f.size <= r.size_high &&
         (r.ends_at_ns == 0 || f.now_ns < r.ends_at_ns);
}

// Host: bool on_connection() const; bool thread_is(const rule&), caller_is(const rule&), stack_is(const rule&); void matched(const rule&);
// rule_state& state(const rule&, scope); random_key key(const rule&, scope); std::uint64_t passed(scope, rule_state&,
// bytes of this call): bytes that have passed in the scope since the rule first met it.
// `mask` holds one bit for each rule of the bank that applies to this process and descriptor.
template <class Host>
void judge(const abi::rule_bank& bank, const std::uint64_t (&mask)[4], const facts_of_call& facts, Host& host, judgement& out) {
  const unsigned rules = bank.count < abi::rule_max ? bank.count : abi::rule_max;
  for (unsigned w = 0; w < 4; ++w) {
    for (std::uint64_t bits = mask[w]; bits; bits &= bits - 1) {
      const unsigned index = w * 64 + static_cast<unsigned>(__builtin_ctzll(bits));
      if (index >= rules) return;
      const abi::rule& r = bank.rules[index];
      if (!could_apply(r, facts)) continue;
      if (r.thread_glob && !host.thread_is(r)) continue;
      if (r.caller_glob && !host.caller_is(r)) continue;
      if (r.stack_glob && !host.stack_is(r)) continue;  // the dearest question comes last
      host.matched(r);
      if (out.matched < fired_max) {
        out.matched_slots[out.matched] = static_cast<std::uint16_t>(r.slot);
        out.asked_rules[out.matched] = r.id;
      }
      ++out.matched;
      const abi::scope scope = scope_of(r, host.on_connection());
      rule_state& state = host.state(r, scope);
      if (out.matched <= fired_max) out.asked[out.matched - 1] = &state;
      const bool counts_bytes = r.after_bytes || r.space_bytes;
      const auto key = [&] { return host.key(r, scope); };
      const trigger_result t = pull(r, state, next_operation(state), key, counts_bytes ? host.passed(scope, state, facts.bytes) : 0);
      if (!t.fires) continue;
      out.fired[out.count++] = firing(r, state, key(), t.operation);
      if (out.count == fired_max) return;
    }
  }
}

}  // namespace chaos::core
