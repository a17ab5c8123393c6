#include "report.hpp"

#include <string.h>

#include "lanes.hpp"

namespace chaos {
namespace {

abi::rule_counters* counters_of(unsigned slot) {
  return report && slot < abi::rule_max ? &report->rules[slot] : nullptr;
}

// Beside the event, before it is marked done.
void put_stack(std::uint64_t ticket, const call_stack& stack) {
  abi::stack_slot& slot = report->stacks[ticket % abi::stack_slots];
  slot.sequence.store(2 * ticket + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  slot.bytes = describe_stack(stack, slot.text, sizeof slot.text);
  slot.sequence.store(2 * ticket + 2, std::memory_order_release);
}

// One slot of the ring, filled in place by `write`. A reader checks the sequence around what it copies.
template <class Write>
void publish(Write write, const call_stack* stack = nullptr) {
  const std::uint64_t ticket = report->ring_head.fetch_add(1, std::memory_order_acq_rel);
  abi::ring_slot& slot = report->ring[ticket % abi::ring_slots];
  slot.sequence.store(2 * ticket + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  abi::event& e = slot.entry;
  e.pid = self.pid;
  e.tid = cached_tid();
  write(e);
  if (stack) {
    put_stack(ticket, *stack);
    e.flags |= abi::event_flags::stack;
  }
  slot.sequence.store(2 * ticket + 2, std::memory_order_release);
  // The ring is larger than the nearest caches: fetch the next slot now, or the next locked addition waits for its stores.
  const char* next = reinterpret_cast<const char*>(&report->ring[(ticket + 1) % abi::ring_slots]);
  for (unsigned line = 0; line < sizeof(abi::ring_slot); line += 64) __builtin_prefetch(next + line, 1);
}

// False: the text was longer than the place for it.
bool put_text(abi::event& e, const char* text, std::size_t n) {
  const std::size_t room = sizeof e.text - 1, fits = n < room ? n : room;
  memcpy(e.text, text, fits);
  memset(e.text + fits, 0, sizeof e.text - fits);
  return fits == n;
}

}  // namespace

bool counts_for(unsigned slot, std::uint32_t rule) {
  const abi::rule_counters* const c = counters_of(slot);
  return c && c->rule.load(std::memory_order_relaxed) == rule;
}

void count_calls_locked(const abi::rule_lane& of_first_cpu, std::uint64_t matched, std::uint64_t bytes) {
  const std::ptrdiff_t slot = slot_of(of_first_cpu);
  if (matched) report->rules[slot].matched.fetch_add(matched, std::memory_order_relaxed);
  if (bytes) report->rules[slot].bytes.fetch_add(bytes, std::memory_order_relaxed);
}

void count_match(const abi::rule& r) {
  abi::rule_counters* c = counters_of(r.slot);
  if (!c) return;
  count_calls(r.slot, 1, 0);
  std::uint64_t never = 0;
  if (!c->first_matched_ns.load(std::memory_order_relaxed)) c->first_matched_ns.compare_exchange_strong(never, sys::now_ns(), std::memory_order_relaxed);
}

void count_bytes(const core::judgement& j, std::uint64_t bytes) {
  if (!report || !bytes) return;
  for (unsigned i = 0; i < j.matched && i < core::fired_max; ++i)  // unless the slot was given to another rule while the call waited
    if (counts_for(j.matched_slots[i], j.asked_rules[i])) count_calls(j.matched_slots[i], 0, bytes);
}

void add_delay(unsigned slot, std::uint32_t rule, std::uint64_t ns) {
  if (counts_for(slot, rule)) report->rules[slot].delayed_ns.fetch_add(ns, std::memory_order_relaxed);
}

injection injection_of(const core::fired_rule& f) {
  return {f.id, f.slot, f.kind,
          static_cast<std::uint8_t>((f.dry_run ? abi::event_flags::dry_run : 0) | (f.late ? abi::event_flags::late : 0)),
          f.error, f.operation, f.delay_ns};
}

void report_injection(const injection& i, const happening& h) {
  abi::rule_counters* c = counters_of(i.slot);
  if (!c) return;
  if (counts_for(i.slot, i.rule)) {
    c->fired.fetch_add(1, std::memory_order_relaxed);
    c->last_fired_ns.store(h.now_ns, std::memory_order_relaxed);
  }
  publish([&](abi::event& e) {
    e.time_ns = h.now_ns;
    e.rule = i.rule;
    e.function = static_cast<std::uint16_t>(h.function);
    e.kind = abi::event_kind::injection;
    e.flags = static_cast<std::uint8_t>(h.flags | i.flags);
    e.error = i.error;
    e.connection = h.connection;
    e.operation = i.operation;
    e.delay_ns = i.delay_ns;
    e.bytes = h.bytes;
    e.caller = reinterpret_cast<std::uint64_t>(h.caller);
    e.effect = static_cast<std::uint8_t>(i.kind);
    if (!put_text(e, h.text ? h.text : "", h.text ? strlen(h.text) : 0)) e.flags |= abi::event_flags::truncated;
  }, h.stack);
}

const call_stack* stack_if_watched(call_stack& room) {
  if (!stacks_on() || !page->stacks_wanted.load(std::memory_order_relaxed)) return nullptr;
  walk_stack(room);
  return room.count ? &room : nullptr;
}

bool publish_plain(abi::event_kind kind, const char* text, std::size_t n) {
  if (!report) return false;
  publish([&](abi::event& e) {
    e.time_ns = sys::now_ns();
    e.rule = e.connection = 0;
    e.function = 0;
    e.kind = kind;
    e.flags = e.effect = 0;
    e.error = 0;
    e.operation = e.delay_ns = e.bytes = e.caller = 0;
    if (!put_text(e, text, n)) e.flags |= abi::event_flags::truncated;
  });
  return true;
}

}  // namespace chaos
