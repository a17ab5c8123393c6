// --when, --times, --after, --space, --toxicity, --probability.
#include "support.hpp"

#include <thread>

namespace chaos::core {
namespace {

std::string fires(const abi::rule& r, int calls, std::uint64_t bytes_each = 0, random_key key = {5}) {
  rule_state s;
  std::string out;
  for (int i = 0; i < calls; ++i) out += pull(r, s, next_operation(s), [&] { return key; }, bytes_each * static_cast<std::uint64_t>(i)).fires ? 'X' : 'O';
  return out;
}
abi::rule with_when(abi::when_clause w) {
  abi::rule r = plain_rule(1, abi::effect::error);
  r.when = w;
  return r;
}

TEST(When, ReadsAsInStrace) {
  EXPECT_EQ(fires(with_when({}), 5), "XXXXX");
  EXPECT_EQ(fires(with_when({.first = 3, .last = 0, .step = 0, .pattern_length = 0, .pattern = 0}), 6), "OOXOOO");
  EXPECT_EQ(fires(with_when({.first = 3, .last = 0, .step = 1, .pattern_length = 0, .pattern = 0}), 6), "OOXXXX");
  EXPECT_EQ(fires(with_when({.first = 3, .last = 0, .step = 2, .pattern_length = 0, .pattern = 0}), 8), "OOXOXOXO");
  EXPECT_EQ(fires(with_when({.first = 2, .last = 4, .step = 0, .pattern_length = 0, .pattern = 0}), 6), "OXXXOO");
  EXPECT_EQ(fires(with_when({.first = 2, .last = 6, .step = 2, .pattern_length = 0, .pattern = 0}), 8), "OXOXOXOO");
}

TEST(When, PatternsRepeat) {
  EXPECT_EQ(fires(with_when({.first = 0, .last = 0, .step = 0, .pattern_length = 4, .pattern = 0b1001}), 9), "XOOXXOOXX");
  abi::rule longest = with_when({.first = 0, .last = 0, .step = 0, .pattern_length = 64, .pattern = 1ull << 63});
  const std::string once = fires(longest, 128);
  EXPECT_EQ(std::count(once.begin(), once.end(), 'X'), 2);
  EXPECT_EQ(once[63], 'X');
  longest.when.pattern_length = 1000;  // a hostile page
  EXPECT_EQ(fires(longest, 128), once);
}

TEST(Times, LimitsInjectionsNotCalls) {
  abi::rule r = plain_rule(1, abi::effect::error);
  r.times = 2;
  EXPECT_EQ(fires(r, 5), "XXOOO");
  r.when.first = 2;
  r.when.step = 2;
  EXPECT_EQ(fires(r, 8), "OXOXOOOO");
  r.times = 0;
  EXPECT_EQ(fires(r, 3), "OOO");
}

TEST(Times, IsExactWhenThreadsShareAScope) {
  abi::rule r = plain_rule(1, abi::effect::error);
  r.times = 1000;
  rule_state s;
  std::atomic<int> fired{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) fired += pull(r, s, next_operation(s), [] { return random_key{1}; }, 0).fires;
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(fired, 1000);
  EXPECT_EQ(s.operations.load(), 20000u);
}

TEST(After, WaitsForBytes) {
  abi::rule r = plain_rule(1, abi::effect::error);
  r.after_bytes = 250;
  EXPECT_EQ(fires(r, 6, 100), "OOOXXX");
}

TEST(Space, LetsBytesPassBetweenInjections) {
  abi::rule r = plain_rule(1, abi::effect::error);
  r.space_bytes = 250;
  EXPECT_EQ(fires(r, 8, 100), "XOOXOOXO");
}

TEST(Probability, HoldsItsBinomialBoundsAndZeroIsNever) {
  abi::rule r = plain_rule(1, abi::effect::error);
  for (double p : {0.01, 0.3, 0.99}) {
    r.chance = threshold(p);
    const std::string s = fires(r, 20000);
    EXPECT_TRUE(plausible(static_cast<std::uint64_t>(std::count(s.begin(), s.end(), 'X')), 20000, p)) << p;
  }
  r.chance = 0;
  EXPECT_EQ(fires(r, 1000).find('X'), std::string::npos);
}

TEST(Toxicity, IsDrawnOnceForEachConnection) {
  abi::rule r = plain_rule(1, abi::effect::error);
  r.toxicity = threshold(0.3);
  std::uint64_t toxic = 0;
  for (std::uint64_t connection = 0; connection < 5000; ++connection) {
    const std::string s = fires(r, 5, 0, random_key{9}.with(connection));
    ASSERT_TRUE(s == "XXXXX" || s == "OOOOO") << s;
    toxic += s[0] == 'X';
  }
  EXPECT_TRUE(plausible(toxic, 5000, 0.3)) << toxic;
}

}  // namespace
}  // namespace chaos::core
