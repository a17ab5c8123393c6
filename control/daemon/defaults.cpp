#include "defaults.hpp"

namespace chaos::daemon {

using rules::option;

namespace {

bool says_how_often(const rules::rule_spec& spec) {
  for (const option o : {option::probability_, option::toxicity_, option::when_, option::times_})
    if (spec.has(o)) return true;
  return false;
}

}  // namespace

void fill_in(rules::rule_spec& spec, const settings& how) {
  if (spec.kind == abi::effect::latency && spec.value.empty() && !spec.has(option::percentiles_) && how.default_latency) {
    const auto [least, most] = *how.default_latency;
    const std::uint64_t half = (most - least) / 2;
    spec.value = rules::format_duration(least + half);
    if (half && !spec.has(option::jitter_)) spec.options[option::jitter_] = rules::format_duration(half);
  }
  const bool error = spec.kind == abi::effect::error || spec.kind == abi::effect::http_error;
  if (error && !how.default_error_rate.empty() && !says_how_often(spec)) spec.options[option::probability_] = how.default_error_rate;
}

}  // namespace chaos::daemon
