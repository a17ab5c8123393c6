// `sh -c COMMAND` in a process group of its own: for probes, and for the commands of schedules.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <string>

namespace chaos::experiment {

// -1: it could not be started. Its input is `input`, or nothing where that is -1; its output goes nowhere.
pid_t spawn_shell(const std::string& command, char* const* environment, int input = -1);

struct shell_end {
  bool in_time = false;  // else the whole group was killed
  int status = 0;        // exit status; 128 and the signal where one ended it
};
shell_end wait_for_shell(pid_t child, std::chrono::steady_clock::time_point deadline);

}  // namespace chaos::experiment
