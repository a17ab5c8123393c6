// Goes through the phases: baseline → inject → observe → clean up → recover → after → analyse. Whatever happens, the faults
// are removed before run() returns.
#pragma once
#include <atomic>
#include <functional>

#include "outcome.hpp"
#include "registration.hpp"

namespace chaos::experiment {

// The way to the faults: chaosd in life, something made up in tests.
class fault_port {
 public:
  virtual ~fault_port() = default;
  // All or none. `notes` gets what should be told.
  virtual rules::result<std::vector<fault_state>> inject(std::span<const rules::rule_spec> specs, std::vector<std::string>& notes) = 0;
  virtual rules::result<std::vector<fault_state>> look() = 0;  // those that inject() made, ended ones too
  virtual rules::result<rules::done> remove() = 0;             // again and again, if need be
};

struct manner {
  bool dry_run = false;
  const std::atomic<int>* signal = nullptr;  // not 0: stop now
  registration* registry = nullptr;          // chaosd's table knows of it; none in tests
  std::function<void(phase, const std::string&)> tell = [](phase, const std::string&) {};
};

outcome run(const plan& p, fault_port& faults, const manner& how);

}  // namespace chaos::experiment
