#include "background.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

extern char** environ;

namespace chaos::experiment {

namespace {

// From here to `guard` everything runs in a child of a process with threads: system calls only, no allocation.
constexpr int children_max = 4096;

// The children of this process, who is also heir to what they leave behind (PR_SET_CHILD_SUBREAPER).
int children_of_self(pid_t* into) {
  const int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[16 * 1024];
  const ssize_t n = read(fd, text, sizeof text);
  close(fd);
  int found = 0;
  pid_t number = 0;
  for (ssize_t i = 0; i < n && found < children_max; ++i) {
    if (text[i] >= '0' && text[i] <= '9') number = number * 10 + (text[i] - '0');
    else if (number) into[found++] = number, number = 0;
  }
  return found;
}

// Kills, and inherits the next generation, until there is nobody left.
void end_all() {
  static pid_t children[children_max];
  for (;;) {
    const int n = children_of_self(children);
    for (int i = 0; i < n; ++i) kill(children[i], SIGKILL);
    const pid_t gone = waitpid(-1, nullptr, __WALL);
    if (gone < 0 && errno == ECHILD) return;
  }
}

[[noreturn]] void guard(char* const* argv, int leash, int tell) {
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
  const int gone = command < 0 ? -1 : static_cast<int>(syscall(SYS_pidfd_open, command, 0));
  pollfd watched[2] = {{leash, POLLIN, 0}, {gone, POLLIN, 0}};
  while (poll(watched, 2, -1) < 0 && errno == EINTR) {}
  if (watched[1].revents || command < 0) {  // by itself
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
