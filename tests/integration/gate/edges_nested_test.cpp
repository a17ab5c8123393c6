// A set of epoll within another one, or in a poll or select: the outside tells of it when what is inside is due, and nobody
// spins until then.
#include "channels.hpp"

#include <vector>

namespace chaos::gate {
namespace {

enum class outside { epoll_level, epoll_edge, poll, select };

struct nesting {
  outside out;
  std::uint32_t inner_flags;
  over transport;
};
std::string name_of(const nesting& n) {
  const char* const outs[] = {"epoll_level", "epoll_edge", "poll", "select"};
  return std::string(outs[static_cast<int>(n.out)]) + "_around_" +
         (n.inner_flags & EPOLLET ? "edge" : n.inner_flags & EPOLLONESHOT ? "oneshot" : "level") + "_" + name_of(n.transport);
}
std::vector<nesting> nestings() {
  std::vector<nesting> all;
  for (const outside o : {outside::epoll_level, outside::epoll_edge, outside::poll, outside::select})
    for (const std::uint32_t flags : {0u, static_cast<std::uint32_t>(EPOLLET), static_cast<std::uint32_t>(EPOLLONESHOT)})
      for (const over t : {over::tcp, over::udp, over::unix_stream}) all.push_back({o, flags, t});
  return all;
}

class Nested : public Gate, public testing::WithParamInterface<nesting> {
 protected:
  const nesting& it = GetParam();
  unique_fd inner{epoll_create1(0)}, outer{epoll_create1(0)};
  int wake_ups = 0;

  void SetUp() override {
    epoll_event e{};
    e.events = EPOLLIN | (it.out == outside::epoll_edge ? static_cast<std::uint32_t>(EPOLLET) : 0);
    ASSERT_EQ(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e), 0);
  }
  void add(int fd, int op = EPOLL_CTL_ADD) {
    set_nonblocking(fd);
    epoll_event e{};
    e.events = EPOLLIN | it.inner_flags;
    e.data.fd = fd;
    ASSERT_EQ(epoll_ctl(inner, op, fd, &e), 0);
  }
  bool told(int ms) {
    switch (it.out) {
      case outside::poll: {
        pollfd p{inner, POLLIN, 0};
        return poll(&p, 1, ms) == 1;
      }
      case outside::select: {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(inner, &set);
        timeval t{ms / 1000, ms % 1000 * 1000};
        return select(inner + 1, &set, nullptr, nullptr, &t) == 1;
      }
      default: {
        epoll_event e;
        return epoll_wait(outer, &e, 1, ms) == 1;
      }
    }
  }
  // The descriptor that the inner set tells of, as a program asks: outside first, and then without waiting.
  int next() {
    const double deadline = monotonic_ms() + 3000;
    while (monotonic_ms() < deadline) {
      if (!told(1000)) continue;
      ++wake_ups;
      epoll_event e;
      if (epoll_wait(inner, &e, 1, 0) == 1) return e.data.fd;
    }
    return -1;
  }
};
INSTANTIATE_TEST_SUITE_P(By, Nested, testing::ValuesIn(nestings()), [](const auto& info) { return name_of(info.param); });

TEST_P(Nested, AHeldDescriptorIsToldOfWhenItIsDueAndNobodySpins) {
  channel c(it.transport);
  const auto id = delay(c.target, 35);
  add(c.near);
  for (int round = 1; round <= 2; ++round) {
    wake_ups = 0;
    const double cpu = cpu_ms(), start = monotonic_ms();
    c.tell("hello");
    EXPECT_EQ(next(), c.near) << round;
    EXPECT_TRUE(on_time(monotonic_ms() - start, 35)) << round;
    EXPECT_EQ(wake_ups, 1) << round;
    EXPECT_LT(cpu_ms() - cpu, 15) << round;
    char b[8];
    EXPECT_EQ(recv(c.near, b, 8, 0), 5);
    EXPECT_EQ(recv(c.near, b, 8, 0), -1);
    EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(round));
    EXPECT_FALSE(told(5)) << "it was read";
    if (it.inner_flags & EPOLLONESHOT) add(c.near, EPOLL_CTL_MOD);
  }
}

TEST_P(Nested, OthersInTheSetAreToldOfAtOnce) {
  channel slow(it.transport), other(it.transport);
  const auto id = delay(slow.target, 50);
  add(slow.near);
  add(other.near);
  const double start = monotonic_ms();
  slow.tell("hello");
  other.tell("hello");
  EXPECT_EQ(next(), other.near);
  EXPECT_LT(monotonic_ms() - start, 20);
  char b[8];
  EXPECT_EQ(recv(other.near, b, 8, 0), 5);
  EXPECT_EQ(next(), slow.near);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 50));
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_P(Nested, AnEndBehindHeldDataNeitherSpinsNorOvertakes) {
  if (it.transport == over::udp) GTEST_SKIP() << "has none";
  channel c(it.transport);
  delay(c.target, 35);
  add(c.near);
  const double cpu = cpu_ms(), start = monotonic_ms();
  c.tell("bye");
  c.far.reset();
  EXPECT_EQ(next(), c.near);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 35));
  EXPECT_EQ(wake_ups, 1);
  EXPECT_LT(cpu_ms() - cpu, 15);
  char b[8];
  EXPECT_EQ(recv(c.near, b, 8, 0), 3);
  EXPECT_EQ(recv(c.near, b, 8, 0), 0);
}

TEST_P(Nested, RemovalLetsGoWithin10Ms) {
  expect_prompt([&] {
    channel c(it.transport);
    const auto id = delay(c.target, 5000);
    add(c.near);
    c.tell("hello");
    double removed = 0;
    std::thread remover([&] {
      wait_until([&] { return s.count(id).fired > 0; });
      removed = monotonic_ms();
      s.remove(id);
    });
    EXPECT_EQ(next(), c.near);
    const double now = monotonic_ms();
    remover.join();
    epoll_ctl(inner, EPOLL_CTL_DEL, c.near, nullptr);
    return now - removed;
  });
}

}  // namespace
}  // namespace chaos::gate
