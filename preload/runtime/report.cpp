#include "report.hpp"

#include <string.h>

namespace chaos {
namespace {

abi::rule_counters* counters_of(const abi::rule& r) {
  return report && r.slot < abi::rule_max ? &report->rules[r.slot] : nullptr;
}

// One slot of the ring, filled by `write`. The copy is made of relaxed words: a reader checks the sequence around it.
void publish(const abi::event& e) {
  if (!report) return;
  report->session.events_published.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t ticket = report->ring_head.fetch_add(1, std::memory_order_acq_rel);
  abi::ring_slot& slot = report->ring[ticket % abi::ring_slots];
  slot.sequence.store(2 * ticket + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  memcpy(&slot.entry, &e, sizeof e);
  slot.sequence.store(2 * ticket + 2, std::memory_order_release);
}

int cached_tid() {
  if (!this_thread.tid) this_thread.tid = sys::tid();
  return this_thread.tid;
}

}  // namespace

void count_match(const abi::rule& r) {
  abi::rule_counters* c = counters_of(r);
  if (c && c->matched.fetch_add(1, std::memory_order_relaxed) == 0) c->first_matched_ns.store(sys::now_ns(), std::memory_order_relaxed);
}

void count_bytes(const core::judgement& j, std::uint64_t bytes) {
  if (!report || !bytes) return;
  for (unsigned i = 0; i < j.matched && i < core::fired_max; ++i)
    if (j.matched_slots[i] < abi::rule_max) report->rules[j.matched_slots[i]].bytes.fetch_add(bytes, std::memory_order_relaxed);
}

void add_delay(const abi::rule& r, std::uint64_t ns) {
  if (abi::rule_counters* c = counters_of(r)) c->delayed_ns.fetch_add(ns, std::memory_order_relaxed);
}

void report_injection(const core::fired_rule& f, const happening& h) {
  abi::rule_counters* c = counters_of(*f.rule);
  if (!c) return;
  c->fired.fetch_add(1, std::memory_order_relaxed);
  c->last_fired_ns.store(h.now_ns, std::memory_order_relaxed);
  abi::event e{};
  e.time_ns = h.now_ns;
  e.pid = self.pid;
  e.tid = cached_tid();
  e.rule = f.rule->id;
  e.function = static_cast<std::uint16_t>(h.function);
  e.kind = abi::event_kind::injection;
  e.flags = static_cast<std::uint8_t>(h.flags | (f.rule->dry_run ? abi::event_flags::dry_run : 0) | (f.rule->late ? abi::event_flags::late : 0));
  e.error = f.error;
  e.connection = h.connection;
  e.operation = f.operation;
  e.delay_ns = f.delay_ns;
  e.bytes = h.bytes;
  e.caller = reinterpret_cast<std::uint64_t>(h.caller);
  e.effect = static_cast<std::uint8_t>(f.rule->kind);
  if (h.text) {
    std::size_t n = 0;
    for (; h.text[n] && n + 1 < sizeof e.text; ++n) e.text[n] = h.text[n];
    if (h.text[n]) e.flags |= abi::event_flags::truncated;
  }
  publish(e);
}

bool publish_plain(abi::event_kind kind, const char* text, std::size_t n) {
  if (!report) return false;
  abi::event e{};
  e.time_ns = sys::now_ns();
  e.pid = self.pid;
  e.tid = cached_tid();
  e.kind = kind;
  const std::size_t room = sizeof e.text - 1;
  memcpy(e.text, text, n < room ? n : room);
  if (n > room) e.flags |= abi::event_flags::truncated;
  publish(e);
  return true;
}

}  // namespace chaos
