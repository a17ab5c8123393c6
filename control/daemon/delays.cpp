#include "delays.hpp"

#include <algorithm>

namespace chaos::daemon {

void delays::count(std::uint8_t effect, std::uint64_t delay_ns) {
  if (effect >= kinds_.size() || delay_ns == 0) return;  // targets write what is counted here
  histogram& h = kinds_[effect];
  ++h.count;
  h.sum_ns += delay_ns;
  const auto at = std::lower_bound(bounds_ns.begin(), bounds_ns.end(), delay_ns);
  if (at != bounds_ns.end()) ++h.up_to[static_cast<std::size_t>(at - bounds_ns.begin())];
}

nlohmann::json delays::describe() const {
  nlohmann::json out = nlohmann::json::object();
  for (std::size_t kind = 0; kind < kinds_.size(); ++kind) {
    const histogram& h = kinds_[kind];
    if (h.count == 0) continue;
    nlohmann::json buckets = nlohmann::json::array();
    std::uint64_t so_far = 0;
    for (std::size_t i = 0; i < bounds_ns.size(); ++i) buckets.push_back({{"le_ns", bounds_ns[i]}, {"count", so_far += h.up_to[i]}});
    out[abi::effect_table[kind].name] = {{"buckets", buckets}, {"sum_ns", h.sum_ns}, {"count", h.count}};
  }
  return out;
}

}  // namespace chaos::daemon
