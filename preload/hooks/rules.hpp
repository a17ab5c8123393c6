// Rules among those that may match.
#pragma once
#include "preload/runtime/process.hpp"

namespace chaos::hooks {

// A call that has waited asks the rules of now, but for those that came meanwhile: they act from the next call on.
inline void leave_out_newer(const rule_view& v, std::uint32_t newest, std::uint64_t (&mask)[4]) {
  if (v.newest <= newest) return;
  for (unsigned w = 0; w < 4; ++w)
    for (std::uint64_t bits = mask[w] & v.mask[w]; bits; bits &= bits - 1)
      if (v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))].id > newest) mask[w] &= ~(bits & -bits);
}

template <class Fits>
bool any_rule(const rule_view& v, const std::uint64_t (&mask)[4], Fits fits) {
  for (unsigned w = 0; w < 4; ++w)
    for (std::uint64_t bits = mask[w] & v.mask[w]; bits; bits &= bits - 1)
      if (fits(v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))])) return true;
  return false;
}

}  // namespace chaos::hooks
