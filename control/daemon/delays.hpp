// How long injections delayed, by kind of fault: buckets that are never taken back, for /metrics.
#pragma once
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "chaos/abi/effects.hpp"

namespace chaos::daemon {

class delays {
 public:
  static constexpr std::array<std::uint64_t, 13> bounds_ns{100'000,     1'000'000,   5'000'000,     10'000'000,    25'000'000,    50'000'000,    100'000'000,
                                                           250'000'000, 500'000'000, 1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};

  void count(std::uint8_t effect, std::uint64_t delay_ns);
  nlohmann::json describe() const;  // {KIND:{buckets:[{le_ns, count}], sum_ns, count}}, cumulative; kinds that delayed nothing are left out

 private:
  struct histogram {
    std::array<std::uint64_t, bounds_ns.size()> up_to{};  // not cumulative
    std::uint64_t count = 0, sum_ns = 0;
  };
  std::array<histogram, abi::effect_count> kinds_{};
};

}  // namespace chaos::daemon
