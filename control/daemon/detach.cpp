#include "detach.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace chaos::daemon {

namespace {

constexpr char verdict_ready = 'R', verdict_failed = 'F';

void close_from(int first, int but) {
  if (but >= first) {
    if (but > first) syscall(SYS_close_range, first, but - 1, 0);
    first = but + 1;
  }
  syscall(SYS_close_range, first, ~0U, 0);
}

void stdio_to_null() {
  const int null = open("/dev/null", O_RDWR);
  if (null < 0) return;
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  if (null > 2) close(null);
}

// The process that was started: waits for the verdict of the one that stays. The one between is gone by then, so that whoever counts
// processes once a daemon is ready finds one.
[[noreturn]] void wait_for_verdict(pid_t between, int from, int ready_fd) {
  while (waitpid(between, nullptr, 0) < 0 && errno == EINTR) {}
  char verdict = 0;
  std::string text;
  char chunk[512];
  for (;;) {
    const ssize_t n = read(from, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(chunk, static_cast<std::size_t>(n));
  }
  if (!text.empty()) verdict = text[0];
  if (verdict == verdict_ready) {
    const char byte = 'R';
    if (ready_fd >= 0 && write(ready_fd, &byte, 1) < 0) _exit(1);
    _exit(0);
  }
  if (verdict == 0) text = "Fchaosd ended before it answered\n";
  if (write(2, text.data() + 1, text.size() - 1) < 0) _exit(1);
  _exit(1);
}

}  // namespace

starter::starter(bool foreground, int ready_fd) : foreground_(foreground), ready_fd_(ready_fd) {
  if (foreground_) return;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) fail("chaosd: no pipe to be had");
  const pid_t child = fork();
  if (child < 0) fail("chaosd: can not fork");
  if (child > 0) {
    close(ends[1]);
    wait_for_verdict(child, ends[0], ready_fd_);
  }
  close(ends[0]);
  pipe_ = ends[1];
  ready_fd_ = -1;
  setsid();
  const pid_t again = fork();  // no longer a session leader: no terminal can ever become ours
  if (again < 0) fail("chaosd: can not fork");
  if (again > 0) _exit(0);
  close_from(3, pipe_);
  stdio_to_null();
  if (chdir("/") < 0) fail("chaosd: can not enter /");
}

void starter::finish(char verdict, const std::string& text) {
  const std::string message = std::string(1, verdict) + text;
  if (pipe_ >= 0) {
    if (write(pipe_, message.data(), message.size()) < 0) errno = 0;
    close(pipe_);
    pipe_ = -1;
  }
  if (ready_fd_ >= 0) {
    if (verdict == verdict_ready && write(ready_fd_, &verdict, 1) < 0) errno = 0;
    close(ready_fd_);
    ready_fd_ = -1;
  }
}

void starter::ready() { finish(verdict_ready, ""); }

void starter::fail(const std::string& why) {
  if (pipe_ < 0) std::fprintf(stderr, "%s\n", why.c_str());
  finish(verdict_failed, why + "\n");
  std::exit(1);
}

void starter::already_running(const std::string& what) {
  if (foreground_) fail(what);
  finish(verdict_ready, "");
  std::exit(0);
}

}  // namespace chaos::daemon
