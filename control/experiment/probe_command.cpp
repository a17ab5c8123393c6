// Runs `sh -c COMMAND` in a process group of its own, which is ended at the deadline. Its output goes nowhere.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "probe.hpp"

extern char** environ;

namespace chaos::experiment {

namespace {

class command_probe final : public probe {
 public:
  explicit command_probe(const probe_plan& p) : plan_(p) {}

  void ask(std::uint64_t, steady::time_point deadline, sample& into) override {
    const pid_t child = spawn();
    if (child < 0) {
      into.failure = failed;
      return;
    }
    const int gone = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
    bool ended = false;
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady::now()).count();
      pollfd p{gone, POLLIN, 0};
      const int n = gone < 0 ? 0 : poll(&p, 1, left > 0 ? static_cast<int>(left) : 0);
      if (n < 0 && errno == EINTR) continue;
      ended = n > 0;
      break;
    }
    if (!ended) kill(-child, SIGKILL);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (gone >= 0) close(gone);
    if (!ended) into.failure = gone < 0 ? failed : timed_out;
    else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) into.failure = none;
    else {
      into.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      into.failure = wrong_exit;
    }
  }

 private:
  pid_t spawn() {
    posix_spawnattr_t how;
    posix_spawn_file_actions_t files;
    posix_spawnattr_init(&how);
    posix_spawn_file_actions_init(&files);
    sigset_t nothing, defaults;
    sigemptyset(&nothing);
    sigfillset(&defaults);
    posix_spawnattr_setsigmask(&how, &nothing);
    posix_spawnattr_setsigdefault(&how, &defaults);
    posix_spawnattr_setpgroup(&how, 0);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    for (const int fd : {0, 1, 2}) posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
    const char* const argv[] = {"sh", "-c", plan_.command.before.c_str(), nullptr};
    pid_t child = -1;
    if (posix_spawn(&child, "/bin/sh", &files, &how, const_cast<char* const*>(argv), environ) != 0) child = -1;
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    return child;
  }
  const probe_plan& plan_;
};

}  // namespace

std::unique_ptr<probe> make_command_probe(const probe_plan& p) { return std::make_unique<command_probe>(p); }

}  // namespace chaos::experiment
