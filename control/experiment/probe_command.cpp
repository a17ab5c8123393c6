// Good when `sh -c COMMAND` exits with 0 before the deadline, at which its process group is ended.
#include <unistd.h>

#include "probe.hpp"
#include "shell.hpp"

namespace chaos::experiment {

namespace {

class command_probe final : public probe {
 public:
  explicit command_probe(const probe_plan& p) : plan_(p) {}

  void ask(std::uint64_t, steady::time_point deadline, sample& into) override {
    const pid_t child = spawn_shell(plan_.command.before, environ);
    if (child < 0) {
      into.failure = failed;
      return;
    }
    const shell_end end = wait_for_shell(child, deadline);
    if (!end.in_time) {
      into.failure = timed_out;
    } else if (end.status == 0) {
      into.failure = none;
    } else {
      into.status = end.status;
      into.failure = wrong_exit;
    }
  }

 private:
  const probe_plan& plan_;
};

}  // namespace

std::unique_ptr<probe> make_command_probe(const probe_plan& p) { return std::make_unique<command_probe>(p); }

}  // namespace chaos::experiment
