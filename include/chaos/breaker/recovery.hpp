// How long the n-th opening in a row lasts: growth, maximum, jitter.
// Thread-safety: draw() needs the breaker's lock. Units: nanoseconds. Errors: none.
// Source of algorithm: splitmix64 (Steele, Lea, Flood 2014) for the jitter.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "settings.hpp"

namespace chaos::detail {

class recovery_time {
 public:
  recovery_time(const breaker_settings& s, std::uint64_t seed) : settings_(s), random_(seed) {}

  std::uint64_t draw(std::uint32_t opening) noexcept {
    double ns = base_ns(opening);
    if (settings_.recovery_jitter > 0) {
      std::uint64_t z = (random_ += 0x9e3779b97f4a7c15);
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      const double unit = static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
      ns *= 1 + settings_.recovery_jitter * (2 * unit - 1);
    }
    return static_cast<std::uint64_t>(ns);
  }
  std::uint64_t longest(std::uint32_t opening) const noexcept {
    return static_cast<std::uint64_t>(base_ns(opening) * (1 + settings_.recovery_jitter));
  }

 private:
  double base_ns(std::uint32_t opening) const noexcept {
    const auto first = static_cast<double>(settings_.recovery_timeout.count());
    return std::min(first * std::pow(settings_.recovery_growth, opening ? opening - 1 : 0),
                    static_cast<double>(settings_.recovery_timeout_max.count()));
  }
  const breaker_settings& settings_;
  std::uint64_t random_;
};

}  // namespace chaos::detail
