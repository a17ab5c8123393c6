#include "output_hold.hpp"

#include "delay_line.hpp"
#include "slice_gap.hpp"

namespace chaos {

bool black_hole(descriptor& d, const core::fired_rule& r, std::uint64_t until_ns) {
  if (!lock(d)) return true;
  bool fresh = true;
  if (delay_line* const line = line_of(d)) {
    const abi::class_set ways = until_ns ? abi::classes::streams : r.classes, before = line->blackhole_rule == r.id ? line->blackhole_classes : 0;
    fresh = (before & ways) != ways;
    line->blackhole_until_ns = until_ns;
    line->blackhole_classes = before | ways;
    line->blackhole_rule = r.id;
  }
  unlock(d);
  return fresh;
}

namespace {
// Asked once: another thread may close the descriptor at any time, and then there is no line.
const delay_line* holding_line(const descriptor& d, std::uint64_t now_ns) {
  const delay_line* l = d.line.load(std::memory_order_acquire);
  return l && l->blackhole_rule && rule_in_force(l->blackhole_rule, now_ns) ? l : nullptr;
}
}  // namespace

bool in_black_hole(const descriptor& d, std::uint64_t now_ns) { return holding_line(d, now_ns) != nullptr; }

bool black_holed(const descriptor& d) {
  const delay_line* l = d.line.load(std::memory_order_acquire);
  return l && l->blackhole_rule;
}

bool closes_by_itself(const descriptor& d) {
  const delay_line* l = d.line.load(std::memory_order_acquire);
  return l && l->blackhole_rule && l->blackhole_until_ns;
}

std::uint64_t send_held_until(descriptor& d, std::uint64_t now_ns) {
  if (const delay_line* const l = holding_line(d, now_ns))
    if (!(l->blackhole_classes & abi::classes::stream_in) && (l->blackhole_classes & abi::classes::stream_out)) return ~std::uint64_t{0};
  if (const std::uint64_t gap = gap_until(d.gap_out, now_ns)) return gap;
  const std::uint64_t due = d.send_due_ns.load(std::memory_order_relaxed);
  if (!due) return 0;
  const delay_line* const l = d.line.load(std::memory_order_acquire);
  if (due > now_ns && l && rule_in_force(l->send_rule, now_ns)) return due;
  d.send_due_ns.store(0, std::memory_order_relaxed);
  return 0;
}

void hold_connect(descriptor& d, std::uint64_t from_ns, const shares& held) {
  if (!lock(d)) return;
  if (delay_line* const line = line_of(d)) {
    line->held_since_ns = from_ns;
    line->held = held;
    d.connect_due_ns.store(from_ns + held.total(), std::memory_order_relaxed);
  }
  unlock(d);
}

void hold_sending(descriptor& d, std::uint64_t until_ns, std::uint32_t rule) {
  if (!lock(d)) return;
  if (delay_line* const line = line_of(d)) {
    line->send_rule = rule;
    d.send_due_ns.store(until_ns, std::memory_order_relaxed);
  }
  unlock(d);
}

namespace {
// It served the connect only: the connection's calls need not look at it.
bool is_unused(const delay_line& l) {
  return !l.epoch && !l.blackhole_rule && !l.ends_rule && !l.end_asked && !l.reset_owed && !l.owed.count && !l.threshold && !l.send_rule;
}

std::uint64_t connect_held_until(descriptor& d, std::uint64_t now_ns) {
  if (!lock(d)) return d.connect_due_ns.load(std::memory_order_relaxed);
  std::uint64_t due = d.connect_due_ns.load(std::memory_order_relaxed);
  delay_line* const line = d.line.load(std::memory_order_acquire);
  if (due > now_ns && line) {
    line->held.drop_ended(now_ns);
    due = line->held_since_ns + line->held.total();
  }
  if (due <= now_ns || !line) due = 0;
  d.connect_due_ns.store(due, std::memory_order_relaxed);
  if (!due && line) {
    line->held.count = 0;
    if (is_unused(*line)) {
      d.line.store(nullptr, std::memory_order_release);
      release_line(line);
      d.head.store(0, std::memory_order_release);
    }
  }
  unlock(d);
  return due;
}
}  // namespace

std::uint64_t output_held_until(descriptor& d, std::uint64_t now_ns) {
  if (const delay_line* const l = holding_line(d, now_ns)) {
    if (!l->blackhole_until_ns && (l->blackhole_classes & abi::classes::streams) == abi::classes::streams) return ~std::uint64_t{0};
  }
  if (!d.connect_due_ns.load(std::memory_order_relaxed)) return 0;
  return connect_held_until(d, now_ns);
}

}  // namespace chaos
