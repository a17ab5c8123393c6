// Kernels before 5.11, and the filters of container engines of that time, have no epoll_pwait2: delays in event loops are exact without it.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstddef>
#include <iterator>

#include "gate.hpp"

namespace chaos::gate {
namespace {

bool take_away(long number, int error) {  // from this process, for good
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(code)), code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

class WithoutPwait2 : public Gate, public testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Answers, WithoutPwait2, testing::Values(ENOSYS, EPERM), [](const auto& p) { return std::string(p.param == ENOSYS ? "ENOSYS" : "EPERM"); });

TEST_P(WithoutPwait2, AnEventLoopIsDelayedAllTheSame) {
  const auto id = delay("127.0.0.0/8", 50);
  const pid_t child = fork();
  if (child == 0) {
    if (!take_away(SYS_epoll_pwait2, GetParam())) _exit(10);
    const timespec at_once{0, 0};
    epoll_event e{};
    if (syscall(SYS_epoll_pwait2, 0, &e, 1, &at_once, nullptr, 8) != -1 || errno != GetParam()) _exit(11);
    tcp_pair p;
    set_nonblocking(p.near);
    const unique_fd set = epoll_create1(EPOLL_CLOEXEC);
    e.events = EPOLLIN;
    if (epoll_ctl(set, EPOLL_CTL_ADD, p.near, &e) != 0) _exit(12);
    for (int i = 0; i < 3; ++i) {
      char b[2];
      if (send(p.far, "x", 1, MSG_NOSIGNAL) != 1) _exit(13);
      const double start = monotonic_ms();
      if (epoll_wait(set, &e, 1, 20) != 0) _exit(14);     // not due yet, and the time-out is the program's own
      if (epoll_wait(set, &e, 1, 5000) != 1) _exit(15);
      if (recv(p.near, b, sizeof b, 0) != 1) _exit(16);
      if (!on_time(monotonic_ms() - start, 50)) _exit(17);
    }
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(s.count(id).fired, 3u);
}

}  // namespace
}  // namespace chaos::gate
