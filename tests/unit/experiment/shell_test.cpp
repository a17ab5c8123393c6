// A shell command is waited for, also by a process that has no descriptor left.
#include "control/experiment/shell.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>

namespace chaos::experiment {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

class no_descriptors {
 public:
  no_descriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
  }
  ~no_descriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

shell_end waited(const char* command, std::chrono::milliseconds time) {
  const pid_t child = spawn_shell(command, environ, -1);
  EXPECT_GT(child, 0);
  const no_descriptors none;
  EXPECT_EQ(dup(0), -1);
  return wait_for_shell(child, clock::now() + time);
}

TEST(Shell, WithoutADescriptorItsEndIsSeenToo) {
  const auto begin = clock::now();
  const auto end = waited("exit 3", 60s);
  EXPECT_TRUE(end.in_time);
  EXPECT_EQ(end.status, 3);
  EXPECT_LT(clock::now() - begin, 30s) << "it did not wait until time was up";
}

TEST(Shell, WithoutADescriptorItsTimeIsUpToo) {
  const auto end = waited("sleep 1000", 50ms);
  EXPECT_FALSE(end.in_time);
  EXPECT_EQ(end.status, 128 + SIGKILL);
}

}  // namespace
}  // namespace chaos::experiment
