// Rules among those that may match.
#pragma once
#include "preload/runtime/process.hpp"

namespace chaos::hooks {

template <class Fits>
bool any_rule(const rule_view& v, const std::uint64_t (&mask)[4], Fits fits) {
  for (unsigned w = 0; w < 4; ++w)
    for (std::uint64_t bits = mask[w] & v.mask[w]; bits; bits &= bits - 1)
      if (fits(v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))])) return true;
  return false;
}

}  // namespace chaos::hooks
