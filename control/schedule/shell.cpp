#include "shell.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace chaos::schedule {

namespace {

std::vector<std::string> environment_with(const variables& more) {
  std::vector<std::string> all;
  for (char** at = environ; *at; ++at) {
    const std::string_view row(*at);
    if (std::ranges::none_of(more, [&](const auto& m) { return row.starts_with(m.first + "="); })) all.emplace_back(row);
  }
  for (const auto& [name, value] : more) all.push_back(name + "=" + value);
  return all;
}

// Input as a file: nobody has to stand by and feed a pipe.
int input_file(const std::string& text) {
  const int fd = memfd_create("input", MFD_CLOEXEC);
  if (fd < 0) return -1;
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = pwrite(fd, text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (n <= 0) break;
    at += static_cast<std::size_t>(n);
  }
  return fd;
}

pid_t spawn(const std::string& command, const variables& more, int input) {
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
  posix_spawn_file_actions_adddup2(&files, input, 0);
  for (const int fd : {1, 2}) posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_WRONLY, 0);
  const auto rows = environment_with(more);
  std::vector<char*> environment;
  for (const auto& row : rows) environment.push_back(const_cast<char*>(row.c_str()));
  environment.push_back(nullptr);
  const char* const argv[] = {"sh", "-c", command.c_str(), nullptr};
  pid_t child = -1;
  if (posix_spawn(&child, "/bin/sh", &files, &how, const_cast<char* const*>(argv), environment.data()) != 0) child = -1;
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&how);
  return child;
}

}  // namespace

std::string shell_outcome::text() const {
  if (timed_out) return "not done within its time";
  return status < 0 ? "it could not be started" : "exit status " + std::to_string(status);
}

shell_outcome run_command(const std::string& command, const variables& more, const std::string& input, std::chrono::nanoseconds timeout) {
  shell_outcome out;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const int in = input_file(input);
  const pid_t child = in < 0 ? -1 : spawn(command, more, in);
  if (in >= 0) close(in);
  if (child < 0) return out;
  pollfd gone{static_cast<int>(syscall(SYS_pidfd_open, child, 0)), POLLIN, 0};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    const int n = left > 0 ? poll(&gone, 1, static_cast<int>(std::min<std::int64_t>(left, 1'000'000))) : 0;
    if (n > 0) break;
    if (left > 0 && (n == 0 || errno == EINTR)) continue;
    out.timed_out = true;
    kill(-child, SIGKILL);
    break;
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (gone.fd >= 0) close(gone.fd);
  out.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return out;
}

}  // namespace chaos::schedule
