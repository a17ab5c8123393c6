#include "background.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "children.hpp"

extern char** environ;

namespace chaos::experiment {

namespace {

// From here to `guard` everything runs in a child of a process with threads: system calls only, no allocation.
constexpr int children_max = 4096;

// Kills, and inherits the next generation (PR_SET_CHILD_SUBREAPER), until there is nobody left.
void end_all() {
  static pid_t children[children_max];
  for (;;) {
    const int n = children_of_self(children);
    for (int i = 0; i < n; ++i) kill(children[i], SIGKILL);
    const pid_t gone = waitpid(-1, nullptr, __WALL);
    if (gone < 0 && errno == ECHILD) return;
  }
}

// What this process, which does not become another program, would keep open of its parent; and there are descriptors for itself.
void keep_only(int one, int other) {
  const unsigned low = static_cast<unsigned>(std::min(one, other)), high = static_cast<unsigned>(std::max(one, other));
  if (low > 3) syscall(SYS_close_range, 3, low - 1, 0);
  if (high > low + 1) syscall(SYS_close_range, low + 1, high - 1, 0);
  syscall(SYS_close_range, high + 1, ~0u, 0);
}

// Whether the command ended by itself, and did so before the leash was let go.
bool ends_by_itself(pid_t command, int leash) {
  const int gone = static_cast<int>(syscall(SYS_pidfd_open, command, 0));
  for (;;) {
    pollfd watched[2] = {{leash, POLLIN, 0}, {gone, POLLIN, 0}};
    const int n = poll(watched, 2, gone < 0 ? 20 : -1);
    siginfo_t of{};
    if (watched[1].revents) return true;
    if (gone < 0 && waitid(P_PID, static_cast<id_t>(command), &of, WEXITED | WNOHANG | WNOWAIT) == 0 && of.si_pid == command) return true;
    if (n > 0) return false;
  }
}

[[noreturn]] void guard(char* const* argv, int leash, int tell) {
  keep_only(leash, tell);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_NAME, "chaos-guard");
  setpgid(0, 0);  // Ctrl-C is for chaos-ctl, which then tells us
  for (int s = 1; s < 32; ++s) signal(s, s == SIGPIPE || s == SIGINT || s == SIGTERM || s == SIGHUP ? SIG_IGN : SIG_DFL);
  sigset_t nothing;
  sigemptyset(&nothing);
  const pid_t command = fork();
  if (command == 0) {
    setpgid(0, 0);
    for (int s = 1; s < 32; ++s) signal(s, SIG_DFL);
    sigprocmask(SIG_SETMASK, &nothing, nullptr);
    const int null = open("/dev/null", O_RDWR);
    for (const int fd : {0, 1, 2}) dup2(null, fd);
    syscall(SYS_close_range, 3, ~0u, 0);
    execvpe(argv[0], argv, environ);
    _exit(127);
  }
  if (command < 0 || ends_by_itself(command, leash)) {
    int status = 127 << 8;
    waitpid(command, &status, 0);
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    static_cast<void>(!write(tell, &code, sizeof code));
    close(tell);
    pollfd only{leash, POLLIN, 0};
    while (poll(&only, 1, -1) < 0 && errno == EINTR) {}  // what it left behind may go on until we are told
  }
  end_all();
  _exit(0);
}

}  // namespace

background::background(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const auto& w : words) argv.push_back(const_cast<char*>(w.c_str()));
  argv.push_back(nullptr);
  int leash[2], told[2];
  if (pipe2(leash, O_CLOEXEC) != 0) throw std::runtime_error(std::strerror(errno));
  if (pipe2(told, O_CLOEXEC | O_NONBLOCK) != 0) {
    close(leash[0]), close(leash[1]);
    throw std::runtime_error(std::strerror(errno));
  }
  guard_ = fork();
  if (guard_ == 0) {
    close(leash[1]);
    close(told[0]);
    guard(argv.data(), leash[0], told[1]);
  }
  close(leash[0]);
  close(told[1]);
  leash_ = leash[1], told_ = told[0];
  if (guard_ < 0) {
    const int why = errno;
    close(leash_), close(told_);
    throw std::runtime_error(std::strerror(why));
  }
}

background::~background() {
  end();
  close(told_);
}

void background::end() {
  if (guard_ < 0) return;
  close(leash_);
  while (waitpid(guard_, nullptr, 0) < 0 && errno == EINTR) {}
  guard_ = -1;
}

bool background::running() {
  if (status_ >= 0) return false;
  int code = 0;
  if (read(told_, &code, sizeof code) == static_cast<ssize_t>(sizeof code)) status_ = code;
  return status_ < 0;
}

}  // namespace chaos::experiment
