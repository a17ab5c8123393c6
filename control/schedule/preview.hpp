// What a schedule would do, without doing it: for `chaos-ctl schedule run --dry-run`, and for chaosd over HTTP.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>

#include "draw.hpp"

namespace chaos::schedule {

inline constexpr std::uint64_t preview_count = 10;  // where neither the plan nor anybody says how many

// The injections 1 to `count`, each with the time from the beginning of the schedule to it.
void preview(const plan& p, std::uint64_t seed, std::uint64_t count, const std::function<void(const injection&, nanoseconds after)>& tell);

nlohmann::json json_of(const injection& in, nanoseconds after);

}  // namespace chaos::schedule
