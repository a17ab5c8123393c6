// corrupt: the share of bytes asked for, keyed by stream offset, so that a peek and the read that follows agree.
#include "support.hpp"

#include <bit>

namespace chaos::effects {
namespace {

using bytes = std::vector<unsigned char>;

core::fired_rule firing(const abi::rule& r, core::rule_state& s, std::uint64_t operation) {
  return core::firing(r, s, core::random_key{31}, operation);
}
abi::rule corrupting(double p, std::uint32_t bits = 0) {
  abi::rule r = core::plain_rule(1, abi::effect::corrupt);
  r.amount = core::threshold(p);
  r.bits = bits;
  return r;
}
bytes flipped(const abi::rule& r, bool stream, std::uint64_t offset, std::size_t n, std::uint64_t operation, std::uint64_t* count = nullptr) {
  core::rule_state s;
  bytes data(n);
  const auto f = firing(r, s, operation);
  const std::uint64_t hits = corrupt::flip(f, stream, offset, data.data(), n);
  if (count) *count = hits;
  return data;
}
std::uint64_t set_bits(const bytes& b) {
  std::uint64_t n = 0;
  for (unsigned char c : b) n += static_cast<unsigned>(std::popcount(c));
  return n;
}

TEST(Corrupt, HitsTheShareOfBytesOneBitEach) {
  for (double p : {0.001, 0.05, 0.5}) {
    std::uint64_t hits = 0;
    const bytes b = flipped(corrupting(p), true, 0, 200000, 1, &hits);
    EXPECT_TRUE(core::plausible(hits, b.size(), p)) << p << ": " << hits;
    EXPECT_EQ(set_bits(b), hits);
    for (unsigned char c : b) ASSERT_LE(std::popcount(c), 1);
  }
}

TEST(Corrupt, AllEightBitsAreHitAlike) {
  const bytes b = flipped(corrupting(1), true, 0, 80000, 1);
  std::uint64_t of[8] = {};
  for (unsigned char c : b) ++of[std::countr_zero(c)];
  for (std::uint64_t n : of) EXPECT_TRUE(core::plausible(n, b.size(), 0.125)) << n;
}

TEST(Corrupt, APeekAndTheReadsThatFollowSeeTheSameBytes) {
  const abi::rule r = corrupting(0.1);
  const bytes whole = flipped(r, true, 1000, 4096, 1);
  for (std::size_t piece : {1u, 7u, 100u, 4096u}) {
    bytes joined;
    std::uint64_t operation = 50;
    for (std::size_t at = 0; at < whole.size(); at += piece) {
      const bytes part = flipped(r, true, 1000 + at, std::min(piece, whole.size() - at), ++operation);
      joined.insert(joined.end(), part.begin(), part.end());
    }
    EXPECT_EQ(joined, whole) << "in pieces of " << piece;
  }
}

TEST(Corrupt, DatagramsAreKeyedByOperation) {
  const abi::rule r = corrupting(0.1);
  EXPECT_EQ(flipped(r, false, 0, 1000, 3), flipped(r, false, 0, 1000, 3));
  EXPECT_NE(flipped(r, false, 0, 1000, 3), flipped(r, false, 0, 1000, 4));
}

TEST(Corrupt, ZeroNeverAndBitsExactly) {
  EXPECT_EQ(set_bits(flipped(corrupting(0), true, 0, 10000, 1)), 0u);
  std::uint64_t count = 0;
  const bytes b = flipped(corrupting(0, 5), false, 0, 10000, 1, &count);
  EXPECT_EQ(count, 5u);
  EXPECT_TRUE(set_bits(b) == 5 || set_bits(b) == 3) << "two draws may meet in one bit";
  flipped(corrupting(0, 5), false, 0, 0, 1, &count);
  EXPECT_EQ(count, 0u) << "nothing to flip in nothing";
}

}  // namespace
}  // namespace chaos::effects
