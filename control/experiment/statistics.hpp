// What the probes saw, in numbers. Latencies count from when a request was due, not from when it could be sent: a probe
// that had to wait for a slow answer does not hide how long its users would have waited.
#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "histogram.hpp"

namespace chaos::experiment {

inline constexpr double nothing = std::numeric_limits<double>::quiet_NaN();  // was measured
inline constexpr double never = std::numeric_limits<double>::infinity();

struct sample {
  std::int64_t due_ns = 0;      // since the experiment began
  std::int64_t latency_ns = 0;  // from due to the end
  int status = 0;               // HTTP; exit status of a command; 0: none
  std::uint32_t marks = 0;      // bit i: marks[i] of the probe's plan was there
  bool good = false, timed_out = false;
  std::uint8_t failure = 0;     // index into failure_texts
};

inline constexpr const char* failure_texts[] = {"", "timed out", "not connected", "cut off", "wrong status", "wrong answer", "failed", "wrong exit status", "error reply", "not there", "wrong state", "too low", "too high", "seen", "not seen"};

struct statistics {
  std::uint64_t samples = 0, good = 0, timed_out = 0;
  double seconds = 0;
  double mean_ns, p50_ns, p90_ns, p95_ns, p99_ns, max_ns;  // NaN without samples
  histogram latencies;
  std::map<std::string, std::uint64_t> answers;            // "200", "wrong status 503", "timed out" … → how often
  double success_rate() const;
  double throughput() const;
};

// Of the samples that were due in [from, to).
std::vector<sample> between(std::span<const sample> all, std::int64_t from_ns, std::int64_t to_ns);
statistics statistics_of(std::span<const sample> some, double seconds);

// The least value that this share of the sorted ones does not exceed (nearest rank); NaN without any.
double percentile_of(std::span<const std::int64_t> sorted, double share);

// When the last `healthy` good answers in a row began to come, or -1. Samples due before `from` do not count.
std::int64_t recovered_at(std::span<const sample> all, std::int64_t from_ns, unsigned healthy);

}  // namespace chaos::experiment
