// What a thread of this process is doing, by /proc: to go on when another one has come to its wait, not after some time.
// Asked past the hooks, and so no use under a pause of the whole process, which `syscall` takes part in.
#pragma once
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace chaos::testing_support {

inline int thread_id() { return static_cast<int>(syscall(SYS_gettid)); }

inline std::string told_of(int thread, const char* what) {
  const std::string path = "/proc/self/task/" + std::to_string(thread) + "/" + what;
  const long fd = syscall(SYS_openat, AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  char text[512];
  const long n = syscall(SYS_read, fd, text, sizeof text);
  syscall(SYS_close_range, fd, fd, 0);  // that of close is hooked
  return n > 0 ? std::string(text, static_cast<std::size_t>(n)) : "";
}

inline bool sleeps(int thread) { return told_of(thread, "stat").find(") S ") != std::string::npos; }

// In that system call (SYS_…).
inline bool sleeps_in(int thread, long call) {
  const std::string now = told_of(thread, "syscall");  // begins with "running" when it is in none, or not asleep
  return !now.empty() && now[0] >= '0' && now[0] <= '9' && std::strtol(now.c_str(), nullptr, 10) == call;
}

}  // namespace chaos::testing_support
