#include "statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace chaos::experiment {

double statistics::success_rate() const {
  return samples ? static_cast<double>(good) / static_cast<double>(samples) : std::numeric_limits<double>::quiet_NaN();
}

double statistics::throughput() const { return seconds > 0 ? static_cast<double>(good) / seconds : 0; }

std::vector<sample> between(std::span<const sample> all, std::int64_t from_ns, std::int64_t to_ns) {
  std::vector<sample> some;
  for (const auto& s : all)
    if (s.due_ns >= from_ns && s.due_ns < to_ns) some.push_back(s);
  return some;
}

statistics statistics_of(std::span<const sample> some, double seconds) {
  statistics out;
  out.seconds = seconds;
  std::vector<std::int64_t> latencies;
  double sum = 0;
  for (const auto& s : some) {
    ++out.samples;
    out.good += s.good;
    out.timed_out += s.timed_out;
    latencies.push_back(s.latency_ns);
    out.latencies.record(s.latency_ns);
    sum += static_cast<double>(s.latency_ns);
    const std::string status = s.status ? std::to_string(s.status) : "";
    if (s.good) ++out.answers[status.empty() ? "good" : status];
    else ++out.answers[failure_texts[s.failure] + (status.empty() ? "" : " " + status)];
  }
  std::ranges::sort(latencies);
  const auto at = [&](double share) { return percentile_of(latencies, share); };
  out.mean_ns = latencies.empty() ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(latencies.size());
  out.p50_ns = at(0.50), out.p90_ns = at(0.90), out.p95_ns = at(0.95), out.p99_ns = at(0.99), out.max_ns = at(1);
  return out;
}

double percentile_of(std::span<const std::int64_t> sorted, double share) {
  if (sorted.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return static_cast<double>(sorted[std::max<std::size_t>(rank, 1) - 1]);
}

std::int64_t recovered_at(std::span<const sample> all, std::int64_t from_ns, unsigned healthy) {
  auto some = between(all, from_ns, std::numeric_limits<std::int64_t>::max());
  std::ranges::sort(some, {}, &sample::due_ns);
  std::size_t first = some.size();
  while (first > 0 && some[first - 1].good) --first;
  if (some.size() - first < healthy) return -1;
  return some[first].due_ns + some[first].latency_ns;
}

}  // namespace chaos::experiment
