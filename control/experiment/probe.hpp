// One request of a probe, made in the calling thread. Bounded by the probe's timeout. Adding a kind: a name in
// probe_kind_names, its keys in keys.def and plan_probe.cpp, one file, one line in make_probe().
#pragma once
#include <chrono>
#include <memory>

#include "session.hpp"
#include "statistics.hpp"

namespace chaos::experiment {

using steady = std::chrono::steady_clock;

enum failure : std::uint8_t { none, timed_out, not_connected, cut_off, wrong_status, wrong_answer, failed, wrong_exit, error_reply, not_there, wrong_state, too_low, too_high, seen, not_seen };

class probe {
 public:
  virtual ~probe() = default;
  // `number` counts the requests of the probe. Fills everything but the times.
  virtual void ask(std::uint64_t number, steady::time_point deadline, sample& into) = 0;
};

struct surroundings {
  facts* about = nullptr;
  const timeline_lines* timeline = nullptr;
};

std::unique_ptr<probe> make_http_probe(const probe_plan& p);
std::unique_ptr<probe> make_tcp_probe(const probe_plan& p);
std::unique_ptr<probe> make_command_probe(const probe_plan& p);
std::unique_ptr<probe> make_redis_probe(const probe_plan& p);
std::unique_ptr<probe> make_log_probe(const probe_plan& p);
std::unique_ptr<probe> make_timeline_probe(const probe_plan& p, const timeline_lines& lines);
std::unique_ptr<probe> make_stat_probe(const probe_plan& p, facts& about);
std::unique_ptr<probe> make_breaker_probe(const probe_plan& p, facts& about);
std::unique_ptr<probe> make_probe(const probe_plan& p, const surroundings& around);

}  // namespace chaos::experiment
