// What tests of the pure parts share: plain rules, a host that answers from maps, and bounds for random counts.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "preload/core/judge.hpp"
#include "preload/effects/compose.hpp"

namespace chaos::core {

inline abi::rule plain_rule(std::uint32_t id, abi::effect kind, abi::class_set classes = abi::classes::stream_in) {
  abi::rule r{};
  r.id = id;
  r.slot = id;
  r.kind = kind;
  r.classes = classes;
  r.chance = r.toxicity = abi::certain;
  r.times = UINT64_MAX;
  r.size_high = UINT64_MAX;
  r.key = mix(id);
  r.seed = 7;
  return r;
}

constexpr abi::probability threshold(double p) { return static_cast<abi::probability>(p * 0x1.0p32); }

// Within five standard deviations of a binomial count: a sound generator fails this once in two million.
inline bool plausible(std::uint64_t hits, std::uint64_t n, double p) {
  const double mean = static_cast<double>(n) * p, sigma = std::sqrt(mean * (1 - p));
  return std::abs(static_cast<double>(hits) - mean) <= 5 * sigma + 1;
}

// Largest distance between the sample and a distribution function. For n samples a true one stays below 1.95/sqrt(n) in
// all but 0.1 % of the cases; seeds here are fixed.
template <class Cdf>
double ks_distance(std::vector<double> sample, Cdf cdf) {
  std::sort(sample.begin(), sample.end());
  const double n = static_cast<double>(sample.size());
  double worst = 0;
  for (std::size_t i = 0; i < sample.size(); ++i) {
    const double f = cdf(sample[i]);
    worst = std::max({worst, std::abs(f - static_cast<double>(i) / n), std::abs(static_cast<double>(i + 1) / n - f)});
  }
  return worst;
}
inline double ks_bound(std::size_t n) { return 1.95 / std::sqrt(static_cast<double>(n)); }

// A process with connections and threads, as the judge sees it.
struct test_host {
  std::uint64_t connection = 1, thread = 1;
  bool connected = true;
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::unique_ptr<rule_state>> states{};
  std::vector<std::uint32_t> asked{};
  std::string thread_name = "main", caller = "app", stack = "main";
  std::uint64_t bytes_passed = 0;
  unsigned stacks_looked_at = 0;

  bool on_connection() const { return connected; }
  bool thread_is(const abi::rule&) const { return thread_name == "wanted"; }
  bool caller_is(const abi::rule&) const { return caller == "wanted"; }
  bool stack_is(const abi::rule&) {
    ++stacks_looked_at;
    return stack == "wanted";
  }
  void matched(const abi::rule& r) { asked.push_back(r.id); }
  std::uint64_t place(abi::scope s) const { return s == abi::scope::connection ? connection : s == abi::scope::thread ? thread << 32 : 0; }
  rule_state& state(const abi::rule& r, abi::scope s) {
    auto& p = states[{r.id, place(s)}];
    if (!p) p = std::make_unique<rule_state>();
    return *p;
  }
  random_key key(const abi::rule& r, abi::scope s) const { return random_key{r.seed}.with(r.key).with(place(s)); }
  std::uint64_t passed(abi::scope, rule_state&, std::uint64_t) const { return bytes_passed; }
};

inline std::unique_ptr<abi::rule_bank> bank_of(const std::vector<abi::rule>& rules) {
  auto bank = std::make_unique<abi::rule_bank>();
  bank->count = static_cast<std::uint32_t>(rules.size());
  for (std::size_t i = 0; i < rules.size(); ++i) bank->rules[i] = rules[i];
  return bank;
}
inline constexpr std::uint64_t every_rule[4] = {~0ull, ~0ull, ~0ull, ~0ull};
inline facts_of_call reading(std::uint64_t size = 100) {
  return {.function = abi::function_id::recv, .acts_as = abi::classes::stream_in, .size = size, .bytes = size, .now_ns = 1000};
}

}  // namespace chaos::core
