// Delays follow the distribution that was asked for: Kolmogorov–Smirnov against its distribution function, and its mean.
#include "support.hpp"

#include "preload/core/distribution.hpp"

namespace chaos::core {
namespace {

constexpr std::size_t samples = 20000;
constexpr std::uint64_t ms = 1'000'000;

abi::rule delaying(std::uint64_t mean, std::uint64_t jitter, abi::distribution shape) {
  abi::rule r = plain_rule(1, abi::effect::latency);
  r.delay_ns = mean;
  r.jitter_ns = jitter;
  r.shape = shape;
  return r;
}

std::vector<double> sample(const abi::rule& r) {
  std::vector<double> out;
  rule_state s;
  for (std::uint64_t i = 1; i <= samples; ++i) {
    draws d(random_key{17}, i);
    out.push_back(static_cast<double>(draw_delay(r, d, s)));
  }
  return out;
}
double mean_of(const std::vector<double>& v) {
  double sum = 0;
  for (double x : v) sum += x;
  return sum / static_cast<double>(v.size());
}
double phi(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

TEST(Distribution, ConstantIsExact) {
  for (double d : sample(delaying(100 * ms, 0, abi::distribution::normal))) ASSERT_EQ(d, 100e6);
}

TEST(Distribution, UniformStaysWithinItsJitter) {
  const auto s = sample(delaying(100 * ms, 20 * ms, abi::distribution::uniform));
  EXPECT_LT(ks_distance(s, [](double x) { return std::clamp((x - 80e6) / 40e6, 0.0, 1.0); }), ks_bound(samples));
  EXPECT_NEAR(mean_of(s), 100e6, 0.5e6);
  EXPECT_GE(*std::min_element(s.begin(), s.end()), 80e6);
  EXPECT_LE(*std::max_element(s.begin(), s.end()), 120e6);
}

TEST(Distribution, NormalHasItsSpread) {
  const auto s = sample(delaying(100 * ms, 10 * ms, abi::distribution::normal));
  EXPECT_LT(ks_distance(s, [](double x) { return phi((x - 100e6) / 10e6); }), ks_bound(samples));
  EXPECT_NEAR(mean_of(s), 100e6, 0.4e6);
}

TEST(Distribution, NegativeDelaysAreNone) {
  const auto s = sample(delaying(1 * ms, 10 * ms, abi::distribution::normal));
  const auto none = static_cast<std::uint64_t>(std::count(s.begin(), s.end(), 0.0));
  EXPECT_TRUE(plausible(none, samples, phi(-0.1))) << none;
}

// x = (u^(-1/3) - 1.5)·4/3, clamped at 4: u = (0.75 x + 1.5)^-3.
double pareto_cdf(double x) { return x >= 4 ? 1 : x <= -2.0 / 3 ? 0 : 1 - std::pow(0.75 * x + 1.5, -3); }

TEST(Distribution, ParetoHasItsTail) {
  auto s = sample(delaying(100 * ms, 10 * ms, abi::distribution::pareto));
  const auto clamped = static_cast<std::uint64_t>(std::count_if(s.begin(), s.end(), [](double x) { return x >= 140e6 - 1; }));
  EXPECT_TRUE(plausible(clamped, samples, std::pow(4.5, -3))) << clamped;
  s.erase(std::remove_if(s.begin(), s.end(), [](double x) { return x >= 140e6 - 1; }), s.end());
  const double below = 1 - std::pow(4.5, -3);
  EXPECT_LT(ks_distance(s, [&](double x) { return pareto_cdf((x - 100e6) / 10e6) / below; }), ks_bound(s.size()));
}

TEST(Distribution, ParetoNormalIsAQuarterNormalAndThreeQuartersPareto) {
  const auto s = sample(delaying(100 * ms, 10 * ms, abi::distribution::paretonormal));
  std::vector<double> expected;  // the same sum from an independent generator; two-sample bound
  std::uint64_t x = 88172645463325252ull;
  const auto unit = [&] {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return (static_cast<double>(x >> 11) + 0.5) * 0x1.0p-53;
  };
  for (std::size_t i = 0; i < samples; ++i) {
    const double normal = std::sqrt(-2 * std::log(unit())) * std::cos(2 * M_PI * unit());
    const double pareto = std::min((std::pow(unit(), -1.0 / 3) - 1.5) * 4 / 3, 4.0);
    expected.push_back(100e6 + 10e6 * (0.25 * normal + 0.75 * pareto));
  }
  std::sort(expected.begin(), expected.end());
  const auto cdf = [&](double v) {
    return static_cast<double>(std::upper_bound(expected.begin(), expected.end(), v) - expected.begin()) / static_cast<double>(samples);
  };
  EXPECT_LT(ks_distance(s, cdf), 1.5 * ks_bound(samples));
}

TEST(Distribution, PercentilesAreMetAndStraightBetween) {
  abi::rule r = delaying(0, 0, abi::distribution::percentiles);
  r.percentile_count = 3;
  r.percentiles[0] = {500000, 0, 10 * ms};
  r.percentiles[1] = {900000, 0, 50 * ms};
  r.percentiles[2] = {990000, 0, 200 * ms};
  auto s = sample(r);
  std::sort(s.begin(), s.end());
  EXPECT_NEAR(s[samples / 2], 10e6, 1.5e6);  // four standard errors of each
  EXPECT_NEAR(s[samples * 7 / 10], 30e6, 1.5e6);
  EXPECT_NEAR(s[samples * 9 / 10], 50e6, 15e6);
  EXPECT_EQ(s.back(), 200e6);
}

TEST(Distribution, CorrelationTiesEachDelayToTheLastOne) {
  abi::rule r = delaying(100 * ms, 20 * ms, abi::distribution::uniform);
  const auto tie = [&](double rho) {
    r.correlation = threshold(rho);
    const auto s = sample(r);
    const double m = mean_of(s);
    double both = 0, one = 0;
    for (std::size_t i = 1; i < s.size(); ++i) both += (s[i] - m) * (s[i - 1] - m), one += (s[i] - m) * (s[i] - m);
    return both / one;
  };
  EXPECT_NEAR(tie(0), 0, 0.03);
  EXPECT_NEAR(tie(0.5), 0.5, 0.05);
  EXPECT_NEAR(tie(0.9), 0.9, 0.05);
}

TEST(Distribution, ABrokenRuleStillGivesADelay) {  // of a page that nobody checked: no value outside its type
  abi::rule r = delaying(UINT64_MAX, UINT64_MAX, abi::distribution::pareto);
  for (const abi::probability correlation : {abi::probability{0}, abi::certain, ~abi::probability{0}}) {
    r.correlation = correlation;
    for (const double delay : sample(r)) ASSERT_LE(delay, 0x1.0p62);
  }
}

TEST(InverseNormal, AgreesWithLibm) {
  for (double p = 1e-6; p < 1; p += 1e-4) ASSERT_NEAR(phi(inverse_normal(p)), p, 1e-8) << p;
}

TEST(Detail, LogAndCubeRootAgreeWithLibm) {
  for (double x = 1e-12; x < 1; x *= 1.01) {
    ASSERT_NEAR(detail::natural_log(x), std::log(x), 1e-9 * std::abs(std::log(x)) + 1e-12) << x;
    ASSERT_NEAR(detail::cube_root(x), std::cbrt(x), 1e-9) << x;
  }
}

}  // namespace
}  // namespace chaos::core
