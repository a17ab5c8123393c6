#include "slice_gap.hpp"

namespace chaos {

void begin_gap(slice_gap& gap, std::uint64_t until_ns, std::uint32_t rule) {
  gap.rule.store(rule, std::memory_order_relaxed);
  gap.held_since_ns.store(0, std::memory_order_relaxed);
  gap.held_ns.store(0, std::memory_order_relaxed);
  gap.due_ns.store(until_ns, std::memory_order_relaxed);
}

std::uint64_t gap_until(slice_gap& gap, std::uint64_t now_ns) {
  const std::uint64_t due = gap.due_ns.load(std::memory_order_relaxed);
  if (!due) return 0;
  const std::uint64_t since = gap.held_since_ns.load(std::memory_order_relaxed);
  if (due > now_ns && rule_in_force(gap.rule.load(std::memory_order_relaxed), now_ns)) {
    if (!since) gap.held_since_ns.store(now_ns, std::memory_order_relaxed);
    return due;
  }
  if (since) gap.held_ns.store((due < now_ns ? due : now_ns) - since, std::memory_order_relaxed);
  gap.due_ns.store(0, std::memory_order_relaxed);
  return 0;
}

std::uint64_t end_gap(slice_gap& gap) {
  gap.due_ns.store(0, std::memory_order_relaxed);
  return gap.held_ns.exchange(0, std::memory_order_relaxed);
}

}  // namespace chaos
