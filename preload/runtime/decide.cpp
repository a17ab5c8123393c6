#include "decide.hpp"

#include <dlfcn.h>
#include <string.h>
#include <sys/prctl.h>

#include "lanes.hpp"
#include "modules.hpp"
#include "owner.hpp"
#include "stack.hpp"
#include "states.hpp"

namespace chaos {
namespace {

struct runtime_host {
  descriptor* d;
  const rule_view& v;
  const void* caller;
  core::rule_state* latest[3] = {};  // that was asked for, by chain
  bool walked = false;
  call_stack stack{};

  bool on_connection() const { return d && (d->role & (abi::classes::data | abi::classes::connect | abi::classes::accept)); }  // or its listener

  bool thread_is(const abi::rule& r) const {
    char name[16] = {};
    sys::call(SYS_prctl, PR_GET_NAME, name, 0, 0, 0);
    return core::glob_match(core::pool_text(*v.bank, r.thread_glob), name);
  }
  bool caller_is(const abi::rule& r) const { return module_matches(caller, core::pool_text(*v.bank, r.caller_glob)); }

  bool stack_is(const abi::rule& r) {
    if (!walked) walk_stack(stack);
    walked = true;
    return stack_matches(stack, core::pool_text(*v.bank, r.stack_glob));
  }

  void matched(const abi::rule& r) const { count_match(r); }

  core::rule_state& state(const abi::rule& r, abi::scope s) {
    const auto in = [&](std::atomic<std::uint32_t>& head, core::rule_state*& before) -> core::rule_state& {
      return *(before = &state_in(head, r.id, before));
    };
    switch (s) {
      case abi::scope::connection: if (d) return in(d->states, latest[0]); break;
      case abi::scope::thread: return in(states_of_this_thread(), latest[1]);
      case abi::scope::session:
        if (report && r.slot < abi::rule_max && report->rules[r.slot].rule.load(std::memory_order_relaxed) == r.id) return report->rules[r.slot].shared;
        break;
      default: break;
    }
    return in(process_states, latest[2]);
  }

  std::uint64_t passed(abi::scope s, core::rule_state& state, std::uint64_t bytes) const {
    if (s != abi::scope::connection || !d) return state.bytes.fetch_add(bytes, std::memory_order_relaxed);
    const std::uint64_t total = d->in_bytes.load(std::memory_order_relaxed) + d->out_bytes.load(std::memory_order_relaxed) + 1;
    std::uint64_t began = 0;
    if (state.bytes.compare_exchange_strong(began, total, std::memory_order_relaxed)) began = total;
    return total - began;
  }

  core::random_key key(const abi::rule& r, abi::scope s) const {
    if (s == abi::scope::connection && d) return key_of(r, *d);
    if (s == abi::scope::thread) return key_in_thread(r);
    if (s == abi::scope::session) return core::random_key{r.seed}.with(r.key);
    return core::random_key{r.seed}.with(r.key).with(self.key.value);
  }
};

}  // namespace

namespace {

// Nothing was renewed: the daemon is gone. Told once for each generation, when a rule would have taken effect.
void tell_lapse(std::uint32_t generation) {
  static constinit std::atomic<std::uint32_t> told{0};
  if (told.exchange(generation, std::memory_order_relaxed) == generation || !report) return;
  report->session.lease_lapses.fetch_add(1, std::memory_order_relaxed);
  publish_plain(abi::event_kind::lapse, "lease", 5);
}

// What the clock says of the rules that are about to take effect: the lease, and the end of each.
void check_clock(decision& out, const rule_view& v) {
  if (!out.now_ns) out.now_ns = sys::now_ns();
  const std::uint64_t now = out.now_ns;
  const bool holds = lease_holds(now);
  if (!holds) tell_lapse(v.generation.load(std::memory_order_relaxed));
  unsigned kept = 0;
  for (unsigned i = 0; i < out.judged.count; ++i) {
    const core::fired_rule f = out.judged.fired[i];
    if (holds && (!f.rule->ends_at_ns || now < f.rule->ends_at_ns)) out.judged.fired[kept++] = f;
    else f.state->fired.fetch_sub(1, std::memory_order_relaxed);
  }
  out.judged.count = kept;
}

}  // namespace

void decide(const core::facts_of_call& facts, const std::uint64_t (&mask)[4], descriptor* d, const rule_view& v, const void* caller,
            decision& out) {
  out.function = facts.function;
  out.now_ns = facts.now_ns;
  out.judged.count = out.judged.matched = out.judged.reserved.count = 0;
  out.verdict = effects::no_verdict;
  const std::uint32_t generation = v.generation.load(std::memory_order_acquire);
  std::uint64_t in_force[4];
  bool any = false;
  for (unsigned w = 0; w < 4; ++w) any |= (in_force[w] = mask[w] & v.mask[w]) != 0;
  if (d) own_or_share(*d);
  if (!any) return;
  runtime_host host(d, v, caller);
  core::judge(*v.bank, in_force, facts, host, out.judged);
  if (!out.judged.count) return;
  check_clock(out, v);
  effects::situation s{.function = facts.function, .acts_as = facts.acts_as, .stream = d && (d->role & abi::classes::streams) != 0,
                       .size = facts.size, .now_ns = out.now_ns, .grows = facts.grows, .outstanding = facts.outstanding};
  if (d && (facts.acts_as & abi::classes::stream_in)) s.least = d->own_threshold;
  if (d) s.passed = d->in_bytes.load(std::memory_order_relaxed) + d->out_bytes.load(std::memory_order_relaxed);
  effects::compose(out.judged, s, out.verdict);
  if (!bank_unchanged(v, generation)) undecide(out);  // the bank is being rewritten: what was read may be torn
}

void take_match_back(const core::judgement& judged, unsigned i) {
  const std::uint32_t rule = judged.asked_rules[i];
  if (core::is_state_of(*judged.asked[i], rule)) core::take_one_back(judged.asked[i]->operations);
  if (counts_for(judged.matched_slots[i], rule)) count_calls(judged.matched_slots[i], ~std::uint64_t{0}, 0);
}

void undecide(decision& made) {
  for (unsigned i = 0; i < made.judged.matched && i < core::fired_max; ++i) take_match_back(made.judged, i);
  for (unsigned i = 0; i < made.judged.count; ++i) core::give_back(made.judged.fired[i]);
  made.judged.reserved.give_back_unused(true);
  made.judged.count = made.judged.matched = 0;
  made.verdict = effects::no_verdict;
}

void report_fired(const decision& made, const char* text, std::uint32_t connection, std::uint64_t bytes, const void* caller, std::uint8_t flags) {
  if (!made.judged.count) return;
  call_stack room;
  const call_stack* const stack = stack_if_watched(room);
  for (unsigned i = 0; i < made.judged.count; ++i) {
    const core::fired_rule& f = made.judged.fired[i];
    report_injection(f, {made.function, made.now_ns, bytes, connection, text, caller, flags, stack});
    if (f.delay_ns && !f.dry_run) add_delay(f.slot, f.id, f.delay_ns);
  }
}

void report_fired(const decision& made, descriptor& d, int fd, std::uint64_t bytes, const void* caller, std::uint8_t flags) {
  if (!made.judged.count) return;
  char text[sizeof abi::event::text];
  report_fired(made, describe(d, fd, text, sizeof text), d.ordinal, bytes, caller, flags);
}

}  // namespace chaos
