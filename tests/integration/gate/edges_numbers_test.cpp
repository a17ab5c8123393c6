// A set of epoll under several numbers: one thread registers by one, another waits by another (mio, and so tokio).
#include <sys/eventfd.h>

#include "channels.hpp"
#include "ways.hpp"

namespace chaos::gate {
namespace {

struct numbers_case {
  std::uint32_t flags;
  const char* rule;
};
std::string name_of(const numbers_case& c) {
  const std::string kind = c.rule;
  return kind.substr(0, kind.find(' ')) + (c.flags & EPOLLET ? "_edge" : c.flags & EPOLLONESHOT ? "_oneshot" : "_level");
}
std::vector<numbers_case> numbers_cases() {
  std::vector<numbers_case> all;
  for (const std::uint32_t flags : {0u, static_cast<std::uint32_t>(EPOLLET), static_cast<std::uint32_t>(EPOLLONESHOT)})
    for (const char* const rule : {"latency {} 20ms", "bandwidth {} 1KB/s", "slicer {} --average-size 2B --delay 5ms"}) all.push_back({flags, rule});
  return all;
}

class Numbers : public Gate, public testing::WithParamInterface<numbers_case> {
 protected:
  unique_fd waited{epoll_create1(0)}, registered{dup(waited)};
  unique_fd bell{eventfd(0, EFD_NONBLOCK)};  // the set has something in it already
  int wake_ups = 0;

  void SetUp() override { registers(waited, EPOLL_CTL_ADD, bell, EPOLLIN); }
  static void registers(int set, int op, int fd, std::uint32_t events) {
    epoll_event e{};
    e.events = events;
    e.data.fd = fd;
    ASSERT_EQ(epoll_ctl(set, op, fd, &e), 0);
  }
  std::uint32_t put_in_force(std::string rule, const std::string& target) {
    const auto id = s.set(rule.replace(rule.find("{}"), 2, target));
    epoll_event e;
    EXPECT_EQ(epoll_wait(waited, &e, 1, 0), 0);  // from here on the set is known
    return id;
  }
  std::string read_all(int set, int fd, std::size_t n, std::uint32_t flags) {
    std::string got;
    const double deadline = monotonic_ms() + 5000;
    while (got.size() < n && monotonic_ms() < deadline) {
      epoll_event e;
      if (epoll_wait(set, &e, 1, 2000) != 1) break;
      ++wake_ups;
      char b[64];
      for (ssize_t r; got.size() < n && (r = recv(fd, b, sizeof b, 0)) > 0;) got.append(b, static_cast<std::size_t>(r));
      if (flags & EPOLLONESHOT) registers(registered, EPOLL_CTL_MOD, fd, EPOLLIN | flags);
    }
    return got;
  }
};
INSTANTIATE_TEST_SUITE_P(By, Numbers, testing::ValuesIn(numbers_cases()), [](const auto& info) { return name_of(info.param); });

TEST_P(Numbers, WhatIsRegisteredByOneIsToldOfByTheOther) {
  tcp_pair p;
  set_nonblocking(p.near);
  const auto id = put_in_force(GetParam().rule, p.target());
  registers(registered, EPOLL_CTL_ADD, p.near, EPOLLIN | GetParam().flags);
  put(p.far, "0123456789");
  EXPECT_EQ(read_all(waited, p.near, 10, GetParam().flags), "0123456789");
  EXPECT_LE(wake_ups, 12) << "nobody spins";
  EXPECT_GE(s.count(id).fired, 1u);
}

TEST_P(Numbers, AChangeByOneWhileItIsHeldByTheOtherLasts) {
  tcp_pair p;
  set_nonblocking(p.near);
  const auto id = s.set("latency " + p.target() + " 30ms");
  registers(waited, EPOLL_CTL_ADD, p.near, EPOLLIN | GetParam().flags);
  put(p.far, "hello");
  shutdown(p.far, SHUT_WR);  // at its end the kernel is quietened by another registration
  epoll_event e;
  EXPECT_EQ(epoll_wait(waited, &e, 1, 5), 0);
  std::thread other([&] { registers(registered, EPOLL_CTL_MOD, p.near, EPOLLOUT | GetParam().flags); });
  other.join();
  ASSERT_EQ(epoll_wait(waited, &e, 1, 2000), 1);
  EXPECT_EQ(e.events & (EPOLLIN | EPOLLOUT), static_cast<std::uint32_t>(EPOLLOUT));
  EXPECT_EQ(epoll_ctl(registered, EPOLL_CTL_DEL, p.near, nullptr), 0);
  EXPECT_EQ(epoll_wait(waited, &e, 1, 50), 0);
  EXPECT_GE(s.count(id).matched, 1u);
}

TEST_P(Numbers, TheSetGoesOnWhenOneNumberIsClosed) {
  tcp_pair p;
  set_nonblocking(p.near);
  const auto id = put_in_force(GetParam().rule, p.target());
  registers(registered, EPOLL_CTL_ADD, p.near, EPOLLIN | GetParam().flags);
  put(p.far, "0123456789");
  epoll_event e;
  std::ignore = epoll_wait(waited, &e, 1, 0);
  registers(registered, EPOLL_CTL_MOD, p.near, EPOLLIN | GetParam().flags);  // whatever it told of is told again
  waited.reset();
  EXPECT_EQ(read_all(registered, p.near, 10, GetParam().flags), "0123456789");
  EXPECT_GE(s.count(id).fired, 1u);
}

// A number can come to mean another set, also while no rule is in force and nobody sees it.
TEST_P(Numbers, ANumberThatIsAnotherSetByNowIsTakenForThat) {
  for (const bool unseen : {false, true}) {
    SCOPED_TRACE(unseen);
    tcp_pair p;
    set_nonblocking(p.near);
    auto id = put_in_force(GetParam().rule, p.target());
    registers(registered, EPOLL_CTL_ADD, p.near, EPOLLIN | GetParam().flags);
    if (unseen) s.clear();
    const unique_fd another(epoll_create1(0));
    ASSERT_EQ(dup2(another, registered), registered.operator int());
    if (unseen) id = s.set("latency " + p.target() + " 10ms");
    registers(registered, EPOLL_CTL_ADD, p.near, EPOLLIN | GetParam().flags);
    put(p.far, "0123456789");
    EXPECT_EQ(read_all(another, p.near, 10, GetParam().flags), "0123456789");
    EXPECT_EQ(epoll_ctl(waited, EPOLL_CTL_DEL, p.near, nullptr), 0);
    EXPECT_EQ(epoll_ctl(another, EPOLL_CTL_DEL, p.near, nullptr), 0);
    EXPECT_GE(s.count(id).fired, 1u);
    s.clear();
    registered = unique_fd(dup(waited));
  }
}

}  // namespace
}  // namespace chaos::gate
