#include "shares.hpp"

#include "process.hpp"

namespace chaos {

void shares::add(std::uint32_t rule, std::uint64_t delay_ns) {
  unsigned i = 0;
  while (i < count && each[i].rule != rule) ++i;
  if (i == most) i = most - 1;
  if (i == count) each[count++].delay_ns = 0;
  each[i].rule = rule;
  each[i].delay_ns += delay_ns;
}

void shares::add_all(const shares& others) {
  for (unsigned i = 0; i < others.count; ++i) add(others.each[i].rule, others.each[i].delay_ns);
}

void shares::drop_ended(std::uint64_t now_ns) {
  unsigned kept = 0;
  for (unsigned i = 0; i < count; ++i)
    if (rule_in_force(each[i].rule, now_ns)) each[kept++] = each[i];
  count = kept;
}

std::uint64_t shares::total() const {
  std::uint64_t ns = 0;
  for (unsigned i = 0; i < count; ++i) ns += each[i].delay_ns;
  return ns;
}

std::uint64_t shares::in_force(std::uint64_t now_ns) const {
  std::uint64_t ns = 0;
  for (unsigned i = 0; i < count; ++i)
    if (rule_in_force(each[i].rule, now_ns)) ns += each[i].delay_ns;
  return ns;
}

void shares::fit(std::uint64_t really_ns, std::uint64_t now_ns) {
  std::uint32_t to_the_end = 0;
  for (unsigned i = 0; i < count; ++i) to_the_end |= std::uint32_t{rule_in_force(each[i].rule, now_ns)} << i;
  for (const std::uint32_t which : {to_the_end, ~to_the_end})
    for (unsigned i = 0; i < count; ++i) {
      if (!(which >> i & 1)) continue;
      if (each[i].delay_ns > really_ns) each[i].delay_ns = really_ns;
      really_ns -= each[i].delay_ns;
    }
}

std::uint64_t shares::of(std::uint32_t rule) const {
  for (unsigned i = 0; i < count; ++i)
    if (each[i].rule == rule) return each[i].delay_ns;
  return 0;
}

void add_shares(shares& to, const core::judgement& judged, core::effect_set kinds) {
  for (unsigned i = 0; i < judged.count; ++i) {
    const core::fired_rule& f = judged.fired[i];
    if (f.delay_ns && !f.dry_run && (core::of(f.kind) & kinds)) to.add(f.id, f.delay_ns);
  }
}

}  // namespace chaos
