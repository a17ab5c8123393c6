// Both ways to find one's children find the same ones, those inherited included.
#include "control/experiment/children.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>

namespace chaos::experiment {
namespace {

template <class Way>
std::set<pid_t> found_by(Way way) {
  std::array<pid_t, 64> room{};
  const int n = way(room);
  EXPECT_GE(n, 0);
  return {room.begin(), room.begin() + std::max(n, 0)};
}

pid_t one_that_waits(const char* name) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_NAME, name);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) pause();
}

TEST(Children, AreFoundByTheListAndBySearching) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  std::set<pid_t> all{one_that_waits("plain"), one_that_waits(") S 1 (")};
  const pid_t between = fork();
  if (between == 0) {
    const pid_t orphan = fork();
    if (orphan == 0)
      for (;;) pause();
    _exit(write(told[1], &orphan, sizeof orphan) == sizeof orphan ? 0 : 1);
  }
  pid_t orphan = 0;
  ASSERT_EQ(read(told[0], &orphan, sizeof orphan), static_cast<ssize_t>(sizeof orphan));
  ASSERT_EQ(waitpid(between, nullptr, 0), between);
  all.insert(orphan);
  EXPECT_EQ(found_by(searched_children), all);
  if (access("/proc/thread-self/children", R_OK) == 0) {
    EXPECT_EQ(found_by(listed_children), all);
  }
  EXPECT_EQ(found_by(children_of_self), all);
  std::array<pid_t, 2> little{};
  EXPECT_EQ(searched_children(little), 2);
  for (const pid_t pid : all) {
    kill(pid, SIGKILL);
    EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
  }
  EXPECT_EQ(found_by(searched_children), std::set<pid_t>{});
  close(told[0]), close(told[1]);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

}  // namespace
}  // namespace chaos::experiment
