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
  if (due > now_ns && lease_holds(now_ns) && page->armed_classes.load(std::memory_order_relaxed)) return due;
  d.send_due_ns.store(0, std::memory_order_relaxed);
  return 0;
}

std::uint64_t output_held_until(descriptor& d, std::uint64_t now_ns) {
  if (const delay_line* const l = holding_line(d, now_ns)) {
    const std::uint64_t until = l->blackhole_until_ns;
    if (until) return until > now_ns ? until : 0;  // past it, look() closes the connection
    if ((l->blackhole_classes & abi::classes::streams) == abi::classes::streams) return ~std::uint64_t{0};
  }
  const std::uint64_t due = d.connect_due_ns.load(std::memory_order_relaxed);
  if (!due) return 0;
  if (due > now_ns && lease_holds(now_ns)) return due;
  d.connect_due_ns.store(0, std::memory_order_relaxed);
  return 0;
}

}  // namespace chaos
