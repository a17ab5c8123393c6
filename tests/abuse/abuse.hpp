// What the campaign of abuse shares. Every case has a short form for each run and a long one (CHAOS_ABUSE_LONG=1, label slow).
#pragma once
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "preload/core/prng.hpp"
#include "tests/support/session.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/waiting.hpp"

namespace chaos::abuse {

using namespace testing_support;

inline bool long_form() { return std::getenv("CHAOS_ABUSE_LONG") != nullptr; }
inline int scaled(int brief, int thorough) { return long_form() ? thorough : brief; }

inline core::draws& chance() {  // the same in every run
  static thread_local core::draws d({4711}, 0);
  return d;
}

inline std::size_t open_descriptors() {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++n;
  return n;
}
inline std::size_t resident_kib() {
  std::ifstream in("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  in >> all >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) / 1024;
}

inline int exit_status(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline bool read_exactly(int fd, char* into, std::size_t n) {
  for (std::size_t got = 0; got < n;) {
    const ssize_t r = recv(fd, into + got, n - got, 0);
    if (r < 0 && errno == EINTR) continue;
    if (r <= 0) return false;
    got += static_cast<std::size_t>(r);
  }
  return true;
}

class Abuse : public testing::Test {
 protected:
  session& s = session::of_this_process();
  ~Abuse() override { s.clear(); }
};

}  // namespace chaos::abuse
