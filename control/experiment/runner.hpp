// Goes through the phases: baseline → inject → observe → clean up → recover → after → analyse. Whatever happens, the faults
// are removed before run() returns.
#pragma once
#include <atomic>
#include <functional>

#include "registration.hpp"
#include "session.hpp"

namespace chaos::experiment {

// How it goes, for those who watch.
struct live {
  experiment::phase phase = phase::baseline;
  nanoseconds in_phase{0}, of_phase{0};  // of_phase 0: as long as it takes
  statistics lately;                     // of the last second, all probes
  std::uint64_t fired = 0;
  std::string breakers;                  // "redis open, postgres closed"
};

struct manner {
  bool dry_run = false;
  const std::atomic<int>* signal = nullptr;  // not 0: stop now
  registration* registry = nullptr;          // chaosd's table knows of it; none in tests
  std::function<void(phase, const std::string&)> tell = [](phase, const std::string&) {};
  std::function<void(const live&)> show;     // five times a second, if at all
};

outcome run(const plan& p, session& s, const manner& how);

}  // namespace chaos::experiment
