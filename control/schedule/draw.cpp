#include "draw.hpp"

#include <algorithm>
#include <random>

#include "control/rules/values.hpp"

namespace chaos::schedule {

namespace {

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014), begun from (seed, number).
class source {
 public:
  source(std::uint64_t seed, std::uint64_t number) : state_(mixed(seed) ^ mixed(number * 0xd1342543de82ef95ULL + 1)) {}
  std::uint64_t next() { return mixed(state_ += 0x9e3779b97f4a7c15ULL); }
  // Uniform in [0, n): the part of 2^64 / n by multiplication; off by less than n / 2^64.
  std::uint64_t below(std::uint64_t n) { return static_cast<std::uint64_t>(static_cast<unsigned __int128>(next()) * n >> 64); }

 private:
  static std::uint64_t mixed(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::uint64_t state_;
};

const scenario& by_weight(const plan& p, source& random) {
  std::uint64_t total = 0;
  for (const auto& s : p.scenarios) total += s.weight;
  std::uint64_t at = random.below(total);
  for (const auto& s : p.scenarios) {
    if (at < s.weight) return s;
    at -= s.weight;
  }
  return p.scenarios.back();
}

// When the file was read the rule was checked with its lowest numbers and with its highest: between them some need not go together.
std::pair<std::string, rules::rule_spec> drawn(const std::string& rule, const target* where, const std::string& name, const auto& choose) {
  constexpr int attempts = 16;
  for (int i = 0; i < attempts; ++i) {
    std::string text = *with_numbers(rule, choose);
    if (auto spec = checked_spec_of(text, where, name)) return {std::move(text), std::move(*spec)};
  }
  std::string text = *with_numbers(rule, [](std::uint64_t low, std::uint64_t) { return low; });
  auto spec = *checked_spec_of(text, where, name);
  return {std::move(text), std::move(spec)};
}

double seconds_of(const rules::rule_spec& spec) {
  const auto time = rules::parse_duration("", spec.value);
  return time ? static_cast<double>(*time) / 1e9 : 0;
}

}  // namespace

std::uint64_t fresh_seed() {
  std::random_device random;
  return static_cast<std::uint64_t>(random()) << 32 | random();
}

injection draw(const plan& p, std::uint64_t seed, std::uint64_t number) {
  source random(seed, number);
  injection in;
  in.number = number;
  in.what = &by_weight(p, random);
  const auto targets = p.targets_of(*in.what);
  if (!targets.empty()) in.where = targets[random.below(targets.size())];
  in.recovery = p.recovery_of(*in.what);
  const auto stray = static_cast<std::uint64_t>(p.jitter.count());
  in.interval = std::max(p.minimum_interval, p.interval - p.jitter + nanoseconds(stray ? random.below(2 * stray + 1) : 0));
  const auto choose = [&](std::uint64_t low, std::uint64_t high) { return low + random.below(high - low + 1); };
  for (std::size_t i = 0; i < in.what->rules.size(); ++i) {
    auto [text, spec] = drawn(in.what->rules[i], in.where, rule_name(p, *in.what, i), choose);
    in.rules.push_back(std::move(text));
    const auto own = random.next() >> 1;
    if (!spec.has(rules::option::seed_)) spec.options[rules::option::seed_] = std::to_string(own);
    if (in.delay_seconds == 0) in.delay_seconds = seconds_of(spec);
    in.specs.push_back(std::move(spec));
  }
  in.command = in.what->command;
  in.undo = in.what->undo;
  return in;
}

}  // namespace chaos::schedule
