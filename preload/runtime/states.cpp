#include "states.hpp"

#include "process.hpp"

namespace chaos {

constinit std::atomic<std::uint32_t> process_states{0};

constinit std::atomic<core::rule_state*> state_pool{nullptr};

namespace {

constinit std::atomic<std::uint32_t> used{0};           // never handed out before: above this
constinit std::atomic<std::uint64_t> free_list{0};      // tag:32 | index:32
constinit core::rule_state shared[abi::rule_max];       // when the pool is used up

constexpr unsigned chain_max = 2 * abi::rule_max;  // longer than rules can be in force: some of it is of rules that ended

core::rule_state* pool_base() {
  core::rule_state* p = state_pool.load(std::memory_order_acquire);
  if (p) return p;
  auto* fresh = static_cast<core::rule_state*>(sys::pages(sizeof(core::rule_state) * (state_pool_max + 1)));
  if (!fresh) return nullptr;
  if (state_pool.compare_exchange_strong(p, fresh, std::memory_order_acq_rel)) return fresh;
  sys::unmap(fresh, sizeof(core::rule_state) * (state_pool_max + 1));
  return p;
}

std::uint32_t take(core::rule_state* base) {
  std::uint64_t head = free_list.load(std::memory_order_acquire);
  while (static_cast<std::uint32_t>(head)) {
    const std::uint32_t index = static_cast<std::uint32_t>(head);
    const std::uint64_t next = ((head >> 32) + 1) << 32 | base[index].next.load(std::memory_order_relaxed);
    if (free_list.compare_exchange_weak(head, next, std::memory_order_acq_rel)) return index;
  }
  if (used.load(std::memory_order_relaxed) >= state_pool_max) return 0;
  const std::uint32_t n = used.fetch_add(1, std::memory_order_relaxed) + 1;
  return n <= state_pool_max ? n : 0;
}

core::rule_state& begun(core::rule_state& s, std::uint32_t rule) {
  s.operations.store(0, std::memory_order_relaxed);
  s.fired.store(0, std::memory_order_relaxed);
  s.bytes.store(0, std::memory_order_relaxed);
  s.fired_at_bytes.store(0, std::memory_order_relaxed);
  s.memory.store(0, std::memory_order_relaxed);
  s.rule.store(rule, std::memory_order_relaxed);
  return s;
}

bool published(std::uint32_t rule) {
  const abi::rule_bank& bank = page->banks[page_generation() % 2];
  const unsigned n = bank.count < abi::rule_max ? bank.count : abi::rule_max;
  for (unsigned i = 0; i < n; ++i)
    if (bank.rules[i].id == rule) return true;
  return false;
}

// A state in a full chain whose rule ended; nullptr when there is none.
core::rule_state* reused(core::rule_state* base, std::uint32_t first) {
  unsigned steps = 0;
  for (std::uint32_t i = first; i && i <= state_pool_max && steps < chain_max; i = base[i].next.load(std::memory_order_relaxed), ++steps)
    if (!published(base[i].rule.load(std::memory_order_relaxed))) return &base[i];
  return nullptr;
}

}  // namespace

core::rule_state& find_state(std::atomic<std::uint32_t>& head, std::uint32_t rule, core::rule_state* before) {
  core::rule_state* base = pool_base();
  const auto fallback = [&]() -> core::rule_state& {
    if (report) report->session.state_exhausted.fetch_add(1, std::memory_order_relaxed);
    return shared[rule % abi::rule_max];
  };
  if (!base) return fallback();
  if (before && !is_of_one_scope(*before)) before = nullptr;
  unsigned steps = 0;
  const auto search = [&](std::uint32_t i) -> core::rule_state* {
    for (; i && i <= state_pool_max && steps < chain_max; i = base[i].next.load(std::memory_order_relaxed), ++steps)
      if (base[i].rule.load(std::memory_order_relaxed) == rule) return &base[i];
    return nullptr;
  };
  if (before)
    if (core::rule_state* const s = search(before->next.load(std::memory_order_acquire))) return *s;
  std::uint32_t first = head.load(std::memory_order_acquire);
  steps = 0;
  if (core::rule_state* const s = search(first)) return *s;
  if (steps == chain_max)
    if (core::rule_state* const s = reused(base, first)) return begun(*s, rule);
  const std::uint32_t made = take(base);
  if (!made) return fallback();
  core::rule_state& s = begun(base[made], rule);
  std::atomic<std::uint32_t>& place = before ? before->next : head;
  first = place.load(std::memory_order_acquire);
  do s.next.store(first, std::memory_order_relaxed);
  while (!place.compare_exchange_weak(first, made, std::memory_order_acq_rel));
  return s;
}

void release_states(std::atomic<std::uint32_t>& head) {
  core::rule_state* base = state_pool.load(std::memory_order_acquire);
  std::uint32_t first = head.exchange(0, std::memory_order_acq_rel);
  if (!base || !first || first > state_pool_max) return;
  std::uint32_t last = first;
  for (unsigned steps = 0; steps < 2 * chain_max; ++steps) {
    const std::uint32_t next = base[last].next.load(std::memory_order_relaxed);
    if (!next || next > state_pool_max) break;
    last = next;
  }
  std::uint64_t old = free_list.load(std::memory_order_acquire);
  std::uint64_t now;
  do {
    base[last].next.store(static_cast<std::uint32_t>(old), std::memory_order_relaxed);
    now = ((old >> 32) + 1) << 32 | first;
  } while (!free_list.compare_exchange_weak(old, now, std::memory_order_acq_rel));
}

}  // namespace chaos
