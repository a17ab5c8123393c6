// The planner is a pure function: reproducible by seed, and fair. Distributions are tested with chi-square over many draws of
// fixed seeds, so that these tests fail for a reason or never.
#include "control/schedule/draw.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

namespace {

using namespace chaos::schedule;
using namespace std::chrono_literals;

plan read(const std::string& text) {
  auto p = parse_plan(text, [](const std::string&) { return std::nullopt; });
  if (!p) ADD_FAILURE() << p.error().message;
  return *p;
}

const std::string defaults = "[schedule]\nname = s\n[target a]\nprocess = a\nrestart = true\n";

double chi_square(const std::map<std::string, std::uint64_t>& seen, const std::map<std::string, double>& shares, std::uint64_t draws) {
  double sum = 0;
  for (const auto& [name, share] : shares) {
    const double expected = share * static_cast<double>(draws), found = seen.contains(name) ? static_cast<double>(seen.at(name)) : 0;
    sum += (found - expected) * (found - expected) / expected;
  }
  return sum;
}

TEST(ScheduleDraw, SameSeedSamePlan) {
  const auto p = read(defaults);
  for (std::uint64_t n = 1; n <= 200; ++n) {
    const auto a = draw(p, 7, n), b = draw(p, 7, n);
    EXPECT_EQ(a.what, b.what);
    EXPECT_EQ(a.rules, b.rules);
    EXPECT_EQ(a.specs, b.specs);
    EXPECT_EQ(a.interval, b.interval);
  }
  unsigned differ = 0;
  for (std::uint64_t n = 1; n <= 200; ++n) differ += draw(p, 7, n).what != draw(p, 8, n).what;
  EXPECT_GT(differ, 80u);
}

// Each rule was checked with its lowest and its highest numbers only.
TEST(ScheduleDraw, NumbersThatDoNotGoTogetherAreDrawnAgain) {
  const auto p = read("[schedule]\n[scenario s]\nrule = enomem malloc --size {1..9}KiB..{1..9}KiB\nrule = enomem malloc --size {1..1000}KiB..{1..1000}KiB --when {1..1000}..{1..1000}\n");
  std::map<std::string, unsigned> seen;
  unsigned lowest = 0;
  for (std::uint64_t n = 1; n <= 2000; ++n) {
    const auto in = draw(p, 3, n);
    for (std::size_t i = 0; i < in.rules.size(); ++i) EXPECT_TRUE(checked_spec_of(in.rules[i], nullptr, "s")) << in.rules[i];
    ++seen[in.rules[0]];
    lowest += in.rules[1] == "enomem malloc --size 1KiB..1KiB --when 1..1";
  }
  EXPECT_EQ(seen.size(), 45u);
  EXPECT_GT(lowest, 0u) << "what does not go together time and again comes with its lowest numbers";
}

// 30 : 40 : 30, two degrees of freedom: 13.8 is passed by one seed in a thousand.
TEST(ScheduleDraw, ScenariosComeByTheirWeights) {
  const auto p = read(defaults);
  const std::map<std::string, double> shares{{"crash", 0.3}, {"slowdown", 0.4}, {"config_error", 0.3}};
  for (const std::uint64_t seed : {0ULL, 1ULL, 42ULL, ~0ULL}) {
    std::map<std::string, std::uint64_t> seen;
    constexpr std::uint64_t draws = 30'000;
    for (std::uint64_t n = 1; n <= draws; ++n) ++seen[draw(p, seed, n).what->name];
    EXPECT_LT(chi_square(seen, shares, draws), 13.8) << "seed " << seed;
  }
}

// A chi-square that is always small would be as wrong: over many seeds its mean is its degrees of freedom (±5 sigma).
TEST(ScheduleDraw, SmallPlansStrayAsChanceDoes) {
  const auto p = read(defaults);
  const std::map<std::string, double> shares{{"crash", 0.3}, {"slowdown", 0.4}, {"config_error", 0.3}};
  double sum = 0;
  constexpr unsigned seeds = 500;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    std::map<std::string, std::uint64_t> seen;
    for (std::uint64_t n = 1; n <= 100; ++n) ++seen[draw(p, seed, n).what->name];
    sum += chi_square(seen, shares, 100);
  }
  EXPECT_NEAR(sum / seeds, 2.0, 5 * 2 / std::sqrt(seeds));
}

TEST(ScheduleDraw, WeightsAreRelativeAndTargetsEquallyLikely) {
  const auto p = read("[schedule]\nname = s\n[target a]\n[target b]\n[target c]\n[target d]\n[scenario rare]\nweight = 1\ncommand = true\n[scenario often]\nweight = 3\ncommand = true\n");
  std::map<std::string, std::uint64_t> scenarios, targets;
  constexpr std::uint64_t draws = 20'000;
  for (std::uint64_t n = 1; n <= draws; ++n) {
    const auto in = draw(p, 5, n);
    ++scenarios[in.what->name];
    ++targets[in.where->name];
  }
  EXPECT_LT(chi_square(scenarios, {{"rare", 0.25}, {"often", 0.75}}, draws), 10.8);
  EXPECT_LT(chi_square(targets, {{"a", 0.25}, {"b", 0.25}, {"c", 0.25}, {"d", 0.25}}, draws), 16.3);
}

TEST(ScheduleDraw, SlowdownsTakeTenToThirtySecondsEachAsLikely) {
  const auto p = read(defaults);
  std::map<std::string, std::uint64_t> seen;
  std::map<std::string, double> shares;
  for (int s = 10; s <= 30; ++s) shares[std::to_string(s)] = 1 / 21.0;
  std::uint64_t slow = 0;
  for (std::uint64_t n = 1; n <= 50'000; ++n) {
    const auto in = draw(p, 3, n);
    if (in.what->name != "slowdown") continue;
    ++slow;
    ++seen[std::to_string(static_cast<int>(in.delay_seconds))];
    EXPECT_EQ(in.rules[0], "latency listen:* " + std::to_string(static_cast<int>(in.delay_seconds)) + "s --everything");
    EXPECT_EQ(in.specs[0].get(chaos::rules::option::process_), "a") << "not everything: the accepted connections of this process";
    EXPECT_TRUE(in.specs[0].has(chaos::rules::option::seed_));
  }
  EXPECT_EQ(seen.size(), 21u);
  EXPECT_LT(chi_square(seen, shares, slow), 45.3);
}

TEST(ScheduleDraw, IntervalsStrayByTheirJitterAndNeverBelowTheMinimum) {
  const auto p = read("[schedule]\nname = s\ninterval = 2min\nminimum_interval = 90s\njitter = 1min\n[scenario x]\ncommand = true\n");
  nanoseconds least = 1h, most = 0s;
  for (std::uint64_t n = 1; n <= 5'000; ++n) {
    const auto in = draw(p, 11, n);
    least = std::min(least, in.interval);
    most = std::max(most, in.interval);
  }
  EXPECT_EQ(least, 90s);
  EXPECT_GT(most, 179s);
  EXPECT_LE(most, 3min);
}

TEST(ScheduleDraw, WithoutTargetsThereIsNone) {
  const auto p = read("[schedule]\nname = s\n[scenario x]\nrule = down 10.0.0.0/8:5432\n");
  EXPECT_EQ(draw(p, 1, 1).where, nullptr);
}

}  // namespace
