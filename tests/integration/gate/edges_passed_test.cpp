// Descriptors that came by another way: in a message, by dup, from a parent.
#include "calls.hpp"
#include "channels.hpp"
#include "ways.hpp"

#include <sys/wait.h>
#include <vector>

namespace chaos::gate {
namespace {

struct carrier {
  unique_fd from, to;
  char c = 'x';
  iovec v{&c, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m{};
  carrier() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    from = ends[0];
    to = ends[1];
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
  }
  void load(int fd) {
    cmsghdr* h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(h), &fd, sizeof fd);
    EXPECT_EQ(sendmsg(from, &m, 0), 1);
  }
  unique_fd unload(bool in_a_row = false) {
    std::memset(control, 0, sizeof control);
    if (in_a_row) {
      mmsghdr row{m, 0};
      EXPECT_EQ(recvmmsg(to, &row, 1, MSG_CMSG_CLOEXEC, nullptr), 1);
    } else {
      EXPECT_EQ(recvmsg(to, &m, MSG_CMSG_CLOEXEC), 1);
    }
    int got = -1;
    std::memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
    return got;
  }
};

class Passed : public Gate, public testing::WithParamInterface<way> {};
INSTANTIATE_TEST_SUITE_P(By, Passed, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

TEST_P(Passed, DescriptorsAreDelayedLikeTheOnesTheyCameFrom) {
  const std::pair<const char*, std::function<unique_fd(int)>> roads[] = {
      {"SCM_RIGHTS", [](int fd) { carrier by; by.load(fd); return by.unload(); }},
      {"dup", [](int fd) -> unique_fd { return dup(fd); }},
      {"fcntl", [](int fd) -> unique_fd { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }},
  };
  for (const auto& [name, road] : roads) {
    tcp_pair p;
    const auto id = delay(p.target(), 25);
    const unique_fd passed = road(p.near);
    ASSERT_GE(passed, 0);
    p.near.reset();
    const double start = monotonic_ms();
    put(p.far, "hello");
    EXPECT_EQ(read_by(passed, GetParam(), 5), "hello") << name;
    EXPECT_TRUE(on_time(monotonic_ms() - start, 25)) << name;
    EXPECT_EQ(s.count(id).fired, 1u) << name;
    s.clear();
  }
}

TEST_F(Calls, ANumberThatAPassedDescriptorTakesOverIsLookedAtAnew) {
  for (const bool in_a_row : {false, true})
    for (const bool watched : {false, true}) {  // the socket that it comes over is one that a rule is about
      SCOPED_TRACE(std::string(in_a_row ? "recvmmsg" : "recvmsg") + (watched ? ", watched" : ""));
      tcp_pair p, other;
      carrier by;
      const auto id = delay(p.target(), 25);
      const auto seen = s.set("observe " + other.target());
      const auto road = watched ? s.set("observe fd:" + std::to_string(by.to)) : 0;
      by.load(p.near);
      const int number = dup(other.near);
      put(other.far, "x");
      char b[8];
      ASSERT_EQ(recv(number, b, 8, 0), 1);
      syscall(SYS_close, number);  // past the hooks, as libc closes inside itself
      const unique_fd passed = by.unload(in_a_row);
      ASSERT_EQ(passed.operator int(), number);
      const double start = monotonic_ms();
      put(p.far, "hello");
      EXPECT_EQ(recv(passed, b, 8, 0), 5);
      EXPECT_TRUE(on_time(monotonic_ms() - start, 25));
      EXPECT_EQ(s.count(id).fired, 1u);
      EXPECT_EQ(s.count(seen).matched, 1u);
      if (watched) { EXPECT_EQ(s.count(road).fired, 1u); }
      s.clear();
    }
}

TEST_P(Passed, WhatAForkedChildReadsKeepsItsDueTime) {
  tcp_pair p;
  delay(p.target(), 40);
  const double start = monotonic_ms();
  put(p.far, "hello");
  pollfd one{p.near, POLLIN, 0};
  ASSERT_EQ(poll(&one, 1, 5), 0);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const unique_fd out(ends[0]), in(ends[1]);
  if (fork() == 0) {
    const bool good = read_by(p.near, GetParam(), 5) == "hello" && on_time(monotonic_ms() - start, 40);
    (void)!write(in, good ? "y" : "n", 1);
    _exit(0);
  }
  char c = 0;
  ASSERT_EQ(read(out, &c, 1), 1);
  EXPECT_EQ(c, 'y');
}

}  // namespace
}  // namespace chaos::gate
