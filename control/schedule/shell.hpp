// Commands of a schedule: `sh -c COMMAND` in a process group of its own, which is ended at its deadline. What it leaves running
// in the background goes on when it ended in time: that is how services are started.
#pragma once
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace chaos::schedule {

using variables = std::vector<std::pair<std::string, std::string>>;

struct shell_outcome {
  int status = -1;         // exit status, 128 + signal, -1: it could not be started
  bool timed_out = false;
  bool good() const { return status == 0 && !timed_out; }
  std::string text() const;  // "exit status 3", "not done within its time"
};

// `input` goes to its standard input; its output goes nowhere.
shell_outcome run_command(const std::string& command, const variables& more, const std::string& input, std::chrono::nanoseconds timeout);

}  // namespace chaos::schedule
