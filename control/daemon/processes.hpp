// Attached processes: who is in the attach slots, who of them lives, and what they are called.
#pragma once
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "report_reader.hpp"

namespace chaos::daemon {

// Field 22 of /proc/PID/stat: with the pid it names one process for good. 0: there is no such process (a zombie is none).
std::uint64_t start_ticks_of(std::int32_t pid);

class processes {
 public:
  explicit processes(const report_reader& report) : report_(report) {}

  std::vector<attached_process> living() const;
  bool attached(std::int32_t pid) const;
  void reap(std::uint64_t now_ns);  // frees the slots of the dead, and those whose filler died half way

  static nlohmann::json describe(const attached_process& p);

 private:
  static constexpr std::uint64_t half_filled_max_ns = 10'000'000'000;
  const report_reader& report_;
  std::map<unsigned, std::uint64_t> half_filled_since_;
};

}  // namespace chaos::daemon
