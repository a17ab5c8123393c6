// Counter-based random numbers: a draw is a pure function of its key, so that the same seed gives the same faults
// whatever the thread schedule, and nothing of the target's own random state is touched.
// The mixer is the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
#pragma once
#include <cstdint>

namespace chaos::core {

constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b) { return mix(mix(a) ^ (b + 0x632be59bd9b4e019)); }

// What a stream of draws belongs to. No clock, no pid.
struct random_key {
  std::uint64_t value;
  constexpr random_key with(std::uint64_t part) const { return {mix(value, part)}; }
};

// Numbers of one decision: operation index in, any number of draws out.
class draws {
 public:
  constexpr draws(random_key key, std::uint64_t operation) : state_(mix(key.value, operation)) {}
  constexpr std::uint64_t bits() { return mix(state_, ++count_); }
  constexpr std::uint32_t word() { return static_cast<std::uint32_t>(bits() >> 32); }
  constexpr double unit() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }  // [0, 1)
  constexpr bool chance(std::uint64_t threshold) { return word() < threshold; }      // threshold of 2^32
  constexpr std::uint64_t below(std::uint64_t n) {                                   // [0, n); bias < 2^-32 for n < 2^32
    return n ? static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits()) * n) >> 64) : 0;
  }

 private:
  std::uint64_t state_;
  std::uint64_t count_ = 0;
};

constexpr std::uint64_t fnv1a(const char* s, std::uint64_t h = 0xcbf29ce484222325) {
  for (; *s; ++s) h = (h ^ static_cast<unsigned char>(*s)) * 0x100000001b3;
  return h;
}

}  // namespace chaos::core
