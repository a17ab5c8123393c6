// What the processes of [process NAME], and the machine as a whole, use; and which of them end. From /proc.
#pragma once
#include <map>

#include "outcome.hpp"

namespace chaos::experiment {

class process_watch {
 public:
  // `attached`: whose end counts when the plan names no process.
  explicit process_watch(const plan& p);
  void look(std::int64_t now_ns);                               // measures
  void arm(const std::vector<int>& attached);                   // from here on an end is a crash
  const std::vector<process_outcome>& seen() const { return seen_; }  // the machine first
  std::uint64_t crashes(const std::string& process) const;      // "": of all
  // Mean CPU and most memory between two moments, NaN when nothing was measured.
  static usage between(const process_outcome& p, std::int64_t from_ns, std::int64_t to_ns);

 private:
  struct incarnation {
    std::uint64_t start_ticks = 0, cpu_ticks = 0, resident_pages = 0;
  };
  using group = std::map<int, incarnation>;
  group members(const process_plan& p, const std::map<int, std::string>& names) const;
  static bool read(int pid, incarnation& into);

  const plan& plan_;
  std::vector<process_outcome> seen_;
  std::vector<group> before_, guarded_;  // by place in seen_
  std::uint64_t machine_busy_ = 0, machine_all_ = 0;
  std::int64_t before_ns_ = -1;
};

}  // namespace chaos::experiment
