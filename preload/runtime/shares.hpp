// A hold that several rules make: their delays add, and each has its share of it. A rule that ends takes its own share along; what
// is left of the others' is served.
#pragma once
#include <cstdint>

#include "preload/core/judge.hpp"

namespace chaos {

struct shares {
  static constexpr unsigned most = 8;  // rules; of more the last ones have one share together, which goes with the latest
  struct share { std::uint32_t rule; std::uint64_t delay_ns; };
  unsigned count = 0;
  share each[most];

  void add(std::uint32_t rule, std::uint64_t delay_ns);
  void add_all(const shares& others);
  void drop_ended(std::uint64_t now_ns);
  std::uint64_t total() const;
  std::uint64_t in_force(std::uint64_t now_ns) const;  // of those whose rules are
  // They held for so long in all. Who holds until now comes first: who went held no longer than the others leave over.
  void fit(std::uint64_t really_ns, std::uint64_t now_ns);
  std::uint64_t of(std::uint32_t rule) const;
};

// What a call was told to wait, by rules of these kinds.
void add_shares(shares& to, const core::judgement& judged, core::effect_set kinds = core::delaying_effects);

}  // namespace chaos
