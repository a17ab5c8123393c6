#include "states.hpp"

#include <cerrno>

#include "busy_word.hpp"
#include "process.hpp"

namespace chaos {

constinit std::atomic<std::uint32_t> process_states{0};

constinit std::atomic<core::rule_state*> state_pool{nullptr};

namespace {

constinit std::atomic<std::uint32_t> used{0};           // never handed out before: above this
constinit std::atomic<std::uint64_t> free_list{0};      // tag:32 | index:32
constinit core::rule_state shared[abi::rule_max];       // when the pool is used up

constexpr unsigned chain_max = 2 * abi::rule_max;  // longer than rules can be in force: some of it is of rules that ended

template <class T>
T* base_of(std::atomic<T*>& where, std::size_t count) {
  T* p = where.load(std::memory_order_acquire);
  if (p) return p;
  T* const fresh = static_cast<T*>(sys::pages(sizeof(T) * (count + 1)));
  if (!fresh) return nullptr;
  if (where.compare_exchange_strong(p, fresh, std::memory_order_acq_rel)) return fresh;
  sys::unmap(fresh, sizeof(T) * (count + 1));
  return p;
}

core::rule_state* pool_base() { return base_of(state_pool, state_pool_max); }

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

unsigned published_count() { return page->banks[page_generation() % 2].count; }

// A state in a chain whose rule ended, for us alone; nullptr when there is none.
core::rule_state* reused(core::rule_state* base, std::uint32_t first) {
  unsigned steps = 0;
  for (std::uint32_t i = first; i && i <= state_pool_max && steps < chain_max; i = base[i].next.load(std::memory_order_relaxed), ++steps) {
    std::uint32_t rule = base[i].rule.load(std::memory_order_relaxed);
    if (rule && !published(rule) && base[i].rule.compare_exchange_strong(rule, 0, std::memory_order_relaxed)) return &base[i];
  }
  return nullptr;
}

// Held while a state is added to a chain: of several threads that are the first to ask a rule in a scope one makes its state,
// and the others find it. Shared by chains, and rarely needed: once for each state.
constinit std::atomic<std::uint32_t> adding[64];
std::atomic<std::uint32_t>& adding_to(const std::atomic<std::uint32_t>& head) { return adding[reinterpret_cast<std::uintptr_t>(&head) / 64 % 64]; }

core::rule_state* add_state(core::rule_state* base, std::atomic<std::uint32_t>& head, std::uint32_t rule, core::rule_state* before) {
  unsigned steps = 0;
  const std::uint32_t first = head.load(std::memory_order_acquire);
  for (std::uint32_t i = first; i && i <= state_pool_max && steps < chain_max; i = base[i].next.load(std::memory_order_relaxed), ++steps)
    if (base[i].rule.load(std::memory_order_relaxed) == rule) return &base[i];
  if (steps == chain_max || steps > 8 + 2 * published_count())
    if (core::rule_state* const s = reused(base, first)) return &begun(*s, rule);
  const std::uint32_t made = take(base);
  if (!made) return nullptr;
  core::rule_state& s = begun(base[made], rule);
  std::atomic<std::uint32_t>& place = before ? before->next : head;
  std::uint32_t next = place.load(std::memory_order_acquire);
  do s.next.store(next, std::memory_order_relaxed);
  while (!place.compare_exchange_weak(next, made, std::memory_order_acq_rel));
  return &s;
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
  steps = 0;
  if (core::rule_state* const s = search(head.load(std::memory_order_acquire))) return *s;
  std::atomic<std::uint32_t>& busy = adding_to(head);
  const bool alone = take_word(busy);  // else: a signal handler that came while its thread was adding
  core::rule_state* const s = add_state(base, head, rule, before);
  if (alone) give_word(busy);
  return s ? *s : fallback();
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

constinit std::atomic<thread_chain*> thread_chains{nullptr};

namespace {

constinit std::atomic<std::uint32_t> chains_used{0}, next_looked_at{0};
constinit std::atomic<std::uint32_t> crowded{0};  // the chain of all threads that found no place

bool ended(std::int32_t tid) { return sys::call(SYS_tgkill, self.pid, tid, 0) == -ESRCH; }

// Takes the place of a thread that has ended. Only one can: by its tid.
bool take_over(thread_chain& c, std::int32_t me) {
  std::int32_t tid = c.tid.load(std::memory_order_acquire);
  if (tid != me) {  // else: of an ended thread of the same tid, or a signal handler came while we were taking it
    if (tid && !ended(tid)) return false;
    if (!c.tid.compare_exchange_strong(tid, me, std::memory_order_acq_rel)) return false;
  }
  release_states(c.head);
  return true;
}

std::uint32_t find_place(thread_chain* all, std::int32_t me) {
  const std::uint32_t used_now = chains_used.load(std::memory_order_acquire);
  const bool full = used_now >= thread_chain_max;
  for (std::uint32_t looks = full ? thread_chain_max : 2; looks && used_now; --looks) {
    const std::uint32_t i = next_looked_at.fetch_add(1, std::memory_order_relaxed) % (full ? thread_chain_max : used_now) + 1;
    if (take_over(all[i], me)) return i;
  }
  while (!full) {
    const std::uint32_t n = chains_used.fetch_add(1, std::memory_order_acq_rel) + 1;
    if (n > thread_chain_max) break;
    std::int32_t nobody = 0;
    if (all[n].tid.compare_exchange_strong(nobody, me, std::memory_order_acq_rel)) return n;
  }
  return 0;
}

}  // namespace

std::atomic<std::uint32_t>& take_chain() {
  thread_chain* const all = in_vfork_child() ? nullptr : base_of(thread_chains, thread_chain_max);
  if (all) this_thread.tid = sys::tid();  // a child that forked and made threads first may have remembered its parent's
  const std::uint32_t place = all ? find_place(all, this_thread.tid) : 0;
  if (!place) {
    if (report) report->session.state_exhausted.fetch_add(1, std::memory_order_relaxed);
    return crowded;
  }
  this_thread.chain = place;
  return all[place].head;
}

void begin_counts_anew() {
  release_states(process_states);
  thread_chain* const all = thread_chains.load(std::memory_order_acquire);
  if (!all || !this_thread.chain) return;
  release_states(all[this_thread.chain].head);
  all[this_thread.chain].tid.store(cached_tid(), std::memory_order_release);
}

}  // namespace chaos
