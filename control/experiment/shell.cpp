#include "shell.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace chaos::experiment {

pid_t spawn_shell(const std::string& command, char* const* environment, int input) {
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
  if (input >= 0) posix_spawn_file_actions_adddup2(&files, input, 0);
  else posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  for (const int fd : {1, 2}) posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_WRONLY, 0);
  const char* const argv[] = {"sh", "-c", command.c_str(), nullptr};
  pid_t child = -1;
  if (posix_spawn(&child, "/bin/sh", &files, &how, const_cast<char* const*>(argv), environment) != 0) child = -1;
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&how);
  return child;
}

namespace {

bool has_ended(pid_t child) {
  siginfo_t of{};
  return waitid(P_PID, static_cast<id_t>(child), &of, WEXITED | WNOHANG | WNOWAIT) == 0 && of.si_pid == child;
}

bool ends_in_time(pid_t child, std::chrono::steady_clock::time_point deadline) {
  constexpr std::int64_t longest_ms = 1'000'000, look_again_ms = 10;
  pollfd gone{static_cast<int>(syscall(SYS_pidfd_open, child, 0)), POLLIN, 0};
  const std::int64_t most = gone.fd < 0 ? look_again_ms : longest_ms;  // no descriptor to be had: it is asked for again and again
  bool ended = false;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    const int n = poll(&gone, gone.fd < 0 ? 0 : 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, most)));
    if (n < 0 && errno == EINTR) continue;
    ended = n > 0 || (gone.fd < 0 && has_ended(child));
    if (ended || left <= 0 || n < 0) break;
  }
  if (gone.fd >= 0) close(gone.fd);
  return ended;
}

}  // namespace

shell_end wait_for_shell(pid_t child, std::chrono::steady_clock::time_point deadline) {
  shell_end end;
  end.in_time = ends_in_time(child, deadline);
  if (!end.in_time) kill(-child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  end.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return end;
}

}  // namespace chaos::experiment
