// Draws are a function of their key alone, look uniform, and keys that differ in any part give unrelated draws.
#include "support.hpp"

#include <bit>
#include <set>

namespace chaos::core {
namespace {

TEST(Draws, AreAFunctionOfKeyAndOperation) {
  draws a({42}, 7), b({42}, 7);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(a.bits(), b.bits());
}

TEST(Draws, StayTheSameFromReleaseToRelease) {  // a seed that somebody wrote down must go on meaning the same faults
  static_assert(mix(0) == 0xe220a8397b1dcdaf);  // first output of SplitMix64 with state 0
  draws d({1}, 1);
  const std::uint64_t first = d.bits();
  EXPECT_EQ(first, mix(mix(1, 1), 1));
}

TEST(Draws, DifferForEveryNeighbouringKeyAndOperation) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t key = 0; key < 100; ++key)
    for (std::uint64_t operation = 0; operation < 100; ++operation) seen.insert(draws({key}, operation).bits());
  EXPECT_EQ(seen.size(), 10000u);
}

TEST(Draws, AreUniform) {
  std::vector<double> sample;
  for (std::uint64_t operation = 0; operation < 20000; ++operation) sample.push_back(draws({3}, operation).unit());
  EXPECT_LT(ks_distance(sample, [](double x) { return x; }), ks_bound(sample.size()));
}

TEST(Draws, OfOneDecisionAreUniformToo) {
  draws d({3}, 1);
  std::vector<double> sample;
  for (int i = 0; i < 20000; ++i) sample.push_back(d.unit());
  EXPECT_LT(ks_distance(sample, [](double x) { return x; }), ks_bound(sample.size()));
}

TEST(Draws, FlipHalfTheBitsWhenTheKeyChangesByOne) {
  std::uint64_t flipped = 0;
  for (std::uint64_t k = 0; k < 2000; ++k) flipped += static_cast<unsigned>(std::popcount(draws({k}, 5).bits() ^ draws({k + 1}, 5).bits()));
  EXPECT_TRUE(plausible(flipped, 2000 * 64, 0.5)) << flipped;
}

TEST(Chance, ZeroIsNeverAndCertainIsAlways) {
  for (std::uint64_t operation = 0; operation < 100000; ++operation) {
    ASSERT_FALSE(draws({1}, operation).chance(0));
    ASSERT_TRUE(draws({1}, operation).chance(abi::certain));
  }
}

TEST(Chance, HoldsItsBinomialBounds) {
  for (double p : {0.001, 0.01, 0.1, 0.5, 0.9}) {
    std::uint64_t hits = 0;
    for (std::uint64_t operation = 0; operation < 100000; ++operation) hits += draws({11}, operation).chance(threshold(p));
    EXPECT_TRUE(plausible(hits, 100000, p)) << p << ": " << hits;
  }
}

TEST(Below, CoversItsRangeAndNothingElse) {
  std::vector<unsigned> seen(7);
  for (std::uint64_t operation = 0; operation < 7000; ++operation) {
    const std::uint64_t n = draws({5}, operation).below(7);
    ASSERT_LT(n, 7u);
    ++seen[n];
  }
  for (unsigned n : seen) EXPECT_TRUE(plausible(n, 7000, 1.0 / 7)) << n;
  EXPECT_EQ(draws({5}, 1).below(0), 0u);
  EXPECT_EQ(draws({5}, 1).below(1), 0u);
}

}  // namespace
}  // namespace chaos::core
