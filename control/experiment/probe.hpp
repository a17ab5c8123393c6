// One request of a probe, made in the calling thread. Bounded by the probe's timeout. Adding a kind: a name in
// probe_kind_names, its keys in plan.cpp, one file, one line in make_probe().
#pragma once
#include <chrono>
#include <memory>

#include "plan.hpp"
#include "statistics.hpp"

namespace chaos::experiment {

using steady = std::chrono::steady_clock;

enum failure : std::uint8_t { none, timed_out, not_connected, cut_off, wrong_status, wrong_answer, failed, wrong_exit };

class probe {
 public:
  virtual ~probe() = default;
  // `number` counts the requests of the probe. Fills everything but the times.
  virtual void ask(std::uint64_t number, steady::time_point deadline, sample& into) = 0;
};

std::unique_ptr<probe> make_http_probe(const probe_plan& p);
std::unique_ptr<probe> make_tcp_probe(const probe_plan& p);
std::unique_ptr<probe> make_command_probe(const probe_plan& p);
std::unique_ptr<probe> make_probe(const probe_plan& p);

}  // namespace chaos::experiment
