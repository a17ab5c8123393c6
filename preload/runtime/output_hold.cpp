#include "output_hold.hpp"

#include "delay_line.hpp"
#include "slice_gap.hpp"

namespace chaos {

void black_hole(descriptor& d, std::uint32_t rule, std::uint64_t until_ns) {
  delay_line* const line = line_of(d);
  if (!line) return;
  line->blackhole_until_ns = until_ns;
  line->blackhole_rule = rule;
}

bool black_holed(const descriptor& d) {
  const delay_line* l = d.line.load(std::memory_order_acquire);
  return l && l->blackhole_rule;
}

bool closes_by_itself(const descriptor& d) {
  const delay_line* l = d.line.load(std::memory_order_acquire);
  return l && l->blackhole_rule && l->blackhole_until_ns;
}

std::uint64_t send_held_until(descriptor& d, std::uint64_t now_ns) {
  if (const std::uint64_t gap = gap_until(d.gap_out, now_ns)) return gap;
  const std::uint64_t due = d.send_due_ns.load(std::memory_order_relaxed);
  if (!due) return 0;
  if (due > now_ns && lease_holds(now_ns) && page->armed_classes.load(std::memory_order_relaxed)) return due;
  d.send_due_ns.store(0, std::memory_order_relaxed);
  return 0;
}

std::uint64_t output_held_until(descriptor& d, std::uint64_t now_ns) {
  if (const delay_line* l = d.line.load(std::memory_order_acquire); l && l->blackhole_rule && rule_in_force(l->blackhole_rule, now_ns)) {
    if (!l->blackhole_until_ns) return ~std::uint64_t{0};
    return l->blackhole_until_ns > now_ns ? l->blackhole_until_ns : 0;  // past it, look() closes the connection
  }
  const std::uint64_t due = d.connect_due_ns.load(std::memory_order_relaxed);
  if (!due) return 0;
  if (due > now_ns && lease_holds(now_ns)) return due;
  d.connect_due_ns.store(0, std::memory_order_relaxed);
  return 0;
}

}  // namespace chaos
