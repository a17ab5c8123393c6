// Carries a schedule out: clear what a crash left → wait → { look whether the system is well → inject → wait → clear } until
// it is told to end. Whatever happens, what was injected is taken back before run() returns; after kill -9 the rules end with
// the process, and the next run takes back the rest.
#pragma once
#include <memory>

#include "control/experiment/runner.hpp"
#include "teller.hpp"

namespace chaos::schedule {

// What a schedule needs of the world; chaosd and /proc in life.
struct surroundings {
  std::function<std::unique_ptr<experiment::fault_port>()> faults;  // one for each injection
  std::function<bool(const target&)> runs;                          // a process of this target is attached to the shim
  variables session;                                                // for commands: CHAOS_DIR, CHAOS_SESSION
  int signals = -1;                                                 // readable: end (a signalfd)
};

enum class end_reason { counted, told, stopped_from_outside, failed };

struct summary {
  end_reason why = end_reason::counted;
  std::uint64_t injections = 0, skipped = 0;
  std::string detail;
};

summary run(const plan& p, std::uint64_t seed, const std::string& folder, const surroundings& world, teller& tell);

}  // namespace chaos::schedule
