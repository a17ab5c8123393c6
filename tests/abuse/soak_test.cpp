// The same for a long time: connections, threads, processes and rules come and go; memory and descriptors stay where they are.
#include <poll.h>

#include "abuse.hpp"

namespace chaos::abuse {
namespace {

void one_round(session& s) {
  std::vector<std::uint32_t> ids;
  s.set_all({"latency 127.0.0.0/8 2ms --jitter 1ms", "error 127.0.0.0/8 ETIMEDOUT --on send --probability 20%", "slicer 127.0.0.0/8 --average-size 7B",
             "observe malloc", "latency file:/dev/shm/** 100us", "loss udp://127.0.0.0/8 10%", "observe env:HOME"}, ids);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([] {
      for (int i = 0; i < 5; ++i) {
        tcp_pair p;
        char b[256] = {};
        if (send(p.far, b, 100, MSG_NOSIGNAL) != 100 || send(p.near, b, 1, MSG_NOSIGNAL) != 1) continue;
        set_nonblocking(p.near);
        const unique_fd set = epoll_create1(EPOLL_CLOEXEC);
        epoll_event e{};
        e.events = EPOLLIN;
        epoll_ctl(set, EPOLL_CTL_ADD, p.near, &e);
        for (ssize_t got = 0; got < 100;) {
          if (epoll_wait(set, &e, 1, 1000) != 1) break;
          const ssize_t r = recv(p.near, b, sizeof b, 0);
          if (r > 0) got += r;
          else if (r == 0 || errno != EAGAIN) break;
        }
        udp_pair u;
        if (send(u.far, b, 10, 0) == 10) {
          pollfd q{u.near, POLLIN, 0};
          if (poll(&q, 1, 10) == 1 && recv(u.near, b, sizeof b, MSG_DONTWAIT) < 0) errno = 0;
        }
        const unique_fd file = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (write(file, b, 100) < 0) errno = 0;
        free(malloc(5000));
      }
    });
  for (auto& t : threads) t.join();
  const pid_t child = fork();
  if (child == 0) {
    tcp_pair p;
    _exit(0);
  }
  EXPECT_EQ(exit_status(child), 0);
  s.clear();
}

TEST_F(Abuse, ALongTimeCostsNoMemoryAndNoDescriptors) {
  const double seconds = scaled(15, 1200), start = monotonic_ms();
  std::size_t descriptors = 0, kib = 0;
  int rounds = 0;
  while (monotonic_ms() - start < seconds * 1000) {
    one_round(s);
    ++rounds;
    if (!descriptors && monotonic_ms() - start > seconds * 300) {  // warm
      descriptors = open_descriptors();
      kib = resident_kib();
    }
  }
  EXPECT_GT(rounds, 50);
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_LE(resident_kib(), kib + 1024) << "after " << rounds << " rounds";
  EXPECT_EQ(s.report().session.state_exhausted.load(), 0u);
  std::printf("%d rounds; resident %zu -> %zu KiB; %zu descriptors\n", rounds, kib, resident_kib(), descriptors);
}

}  // namespace
}  // namespace chaos::abuse
