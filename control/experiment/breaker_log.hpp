// What the timeline says about circuit breakers: their transitions, when they were open, who called all the same.
#pragma once
#include <optional>

#include "outcome.hpp"

namespace chaos::experiment {

// Of an annotation "NAME: FROM -> TO (REASON) after N failures"; nothing for any other text.
std::optional<transition> transition_of(const timeline_event& e, std::int64_t began_ns);

// A moment in which calls that were under way when the breaker opened may still end.
inline constexpr std::int64_t under_way_ns = 100'000'000;

struct open_time {
  std::string breaker;
  int pid;
  std::int64_t from_ns, to_ns;
};
// While breakers were open; `breaker` "": all of them. One that never left goes to `end_ns`.
std::vector<open_time> open_times(const outcome& o, const std::string& breaker, std::int64_t end_ns);

// The states of every breaker as bands.
std::vector<band> breaker_bands(const outcome& o, std::int64_t end_ns);

// What the metrics of this name measure; NaN and a reason when no breaker opened.
struct reading {
  double value;
  std::string reason;
};
reading failures_to_open(const outcome& o, const std::string& breaker);
reading open_to_half_open(const outcome& o, const std::string& breaker, double expected_ns);
reading calls_while_open(const outcome& o, const std::string& breaker, const std::string& fault);
reading latency_while_open(const outcome& o, const probe_outcome& p, const std::string& breaker);

}  // namespace chaos::experiment
