// Latency in event loops: a held descriptor is not reported until it is due, and nobody else waits for it.
#include "gate.hpp"

#include <vector>

namespace chaos::gate {
namespace {

// One way to wait for input on several descriptors: which of them are ready, within `timeout_ms`.
struct way {
  const char* name;
  std::vector<int> (*wait)(const std::vector<int>& fds, int timeout_ms);
};

template <class Poll>
std::vector<int> by_poll(const std::vector<int>& fds, Poll call) {
  std::vector<pollfd> p;
  for (int fd : fds) p.push_back({fd, POLLIN, 0});
  std::vector<int> ready;
  if (call(p.data(), p.size()) > 0)
    for (const auto& one : p)
      if (one.revents) ready.push_back(one.fd);
  return ready;
}
template <class Select>
std::vector<int> by_select(const std::vector<int>& fds, Select call) {
  fd_set in;
  FD_ZERO(&in);
  int top = 0;
  for (int fd : fds) {
    FD_SET(fd, &in);
    top = std::max(top, fd);
  }
  std::vector<int> ready;
  if (call(top + 1, &in) > 0)
    for (int fd : fds)
      if (FD_ISSET(fd, &in)) ready.push_back(fd);
  return ready;
}
template <class Epoll>
std::vector<int> by_epoll(const std::vector<int>& fds, std::uint32_t flags, Epoll call) {
  const unique_fd set(epoll_create1(0));
  for (int fd : fds) {
    epoll_event e{};
    e.events = EPOLLIN | flags;
    e.data.fd = fd;
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
  }
  epoll_event got[8];
  const int n = call(set, got);
  std::vector<int> ready;
  for (int i = 0; i < n; ++i) ready.push_back(got[i].data.fd);
  return ready;
}
timespec span(int ms) { return {ms / 1000, ms % 1000 * 1'000'000L}; }

const way ways[] = {
    {"poll", [](const std::vector<int>& f, int ms) { return by_poll(f, [=](pollfd* p, nfds_t n) { return poll(p, n, ms); }); }},
    {"ppoll", [](const std::vector<int>& f, int ms) { return by_poll(f, [=](pollfd* p, nfds_t n) { const timespec t = span(ms); return ppoll(p, n, &t, nullptr); }); }},
    {"select", [](const std::vector<int>& f, int ms) { return by_select(f, [=](int n, fd_set* in) { timeval t{ms / 1000, ms % 1000 * 1000}; return select(n, in, nullptr, nullptr, &t); }); }},
    {"pselect", [](const std::vector<int>& f, int ms) { return by_select(f, [=](int n, fd_set* in) { const timespec t = span(ms); return pselect(n, in, nullptr, nullptr, &t, nullptr); }); }},
    {"epoll_level", [](const std::vector<int>& f, int ms) { return by_epoll(f, 0, [=](int e, epoll_event* got) { return epoll_wait(e, got, 8, ms); }); }},
    {"epoll_edge", [](const std::vector<int>& f, int ms) { return by_epoll(f, EPOLLET, [=](int e, epoll_event* got) { return epoll_wait(e, got, 8, ms); }); }},
    {"epoll_oneshot", [](const std::vector<int>& f, int ms) { return by_epoll(f, EPOLLONESHOT, [=](int e, epoll_event* got) { return epoll_wait(e, got, 8, ms); }); }},
    {"epoll_exclusive", [](const std::vector<int>& f, int ms) { return by_epoll(f, EPOLLEXCLUSIVE, [=](int e, epoll_event* got) { return epoll_wait(e, got, 8, ms); }); }},
    {"epoll_pwait", [](const std::vector<int>& f, int ms) { return by_epoll(f, 0, [=](int e, epoll_event* got) { return epoll_pwait(e, got, 8, ms, nullptr); }); }},
    {"epoll_pwait2", [](const std::vector<int>& f, int ms) { return by_epoll(f, 0, [=](int e, epoll_event* got) { const timespec t = span(ms); return epoll_pwait2(e, got, 8, &t, nullptr); }); }},
};

class Waiting : public Gate, public testing::WithParamInterface<way> {
 protected:
  const way& it = GetParam();
};
INSTANTIATE_TEST_SUITE_P(By, Waiting, testing::ValuesIn(ways), [](const auto& info) { return std::string(info.param.name); });

TEST_P(Waiting, TellsOfHeldDataWhenItIsDue) {
  tcp_pair p;
  set_nonblocking(p.near);
  const auto id = delay(p.target(), 30);
  const double start = monotonic_ms();
  put(p.far, "hello");
  EXPECT_EQ(it.wait({p.near}, 5000), std::vector<int>{p.near});
  EXPECT_TRUE(on_time(monotonic_ms() - start, 30));
  char b[6] = {};
  EXPECT_EQ(recv(p.near, b, 5, 0), 5);
  EXPECT_STREQ(b, "hello");
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_P(Waiting, DataThatArrivesDuringTheWaitIsHeldFromThen) {
  tcp_pair p;
  set_nonblocking(p.near);
  delay(p.target(), 30);
  const double start = monotonic_ms();  // the other may be under way before this one goes on
  std::thread late([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    put(p.far, "x");
  });
  EXPECT_EQ(it.wait({p.near}, 5000).size(), 1u);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 60));
  late.join();
}

TEST_P(Waiting, OthersAreToldOfAtOnce) {
  tcp_pair slow, other;
  set_nonblocking(slow.near);
  set_nonblocking(other.near);
  delay(slow.target(), 300);
  put(slow.far, "x");
  EXPECT_TRUE(it.wait({slow.near, other.near}, 5).empty());
  const double start = monotonic_ms();
  std::thread late([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    put(other.far, "x");
  });
  EXPECT_EQ(it.wait({slow.near, other.near}, 5000), std::vector<int>{other.near});
  EXPECT_TRUE(on_time(monotonic_ms() - start, 20));
  late.join();
}

TEST_P(Waiting, ATimeoutShorterThanTheDelayIsKept) {
  tcp_pair p;
  set_nonblocking(p.near);
  delay(p.target(), 200);
  put(p.far, "x");
  const timed t = time_of([&] { return it.wait({p.near}, 20).size(); });
  EXPECT_EQ(t.result, 0);
  EXPECT_TRUE(on_time(t.ms, 20));
  const timed none = time_of([&] { return it.wait({p.near}, 0).size(); });
  EXPECT_EQ(none.result, 0);
  EXPECT_LT(none.ms, 10);
}

TEST_P(Waiting, RemovalLetsGoWithin10Ms) {
  expect_prompt([&] {
    tcp_pair p;
    set_nonblocking(p.near);
    const auto id = delay(p.target(), 5000);
    put(p.far, "x");
    double removed = 0;
    std::thread remover([&] {
      wait_until([&] { return s.count(id).fired > 0; });
      removed = monotonic_ms();
      s.remove(id);
    });
    EXPECT_EQ(it.wait({p.near}, 5000).size(), 1u);
    const double now = monotonic_ms();
    remover.join();
    return now - removed;
  });
}

TEST_P(Waiting, HoldingCostsNoCpu) {
  tcp_pair p;
  set_nonblocking(p.near);
  delay(p.target(), 300);
  put(p.far, "x");
  const double before = cpu_ms();
  EXPECT_EQ(it.wait({p.near}, 5000).size(), 1u);
  EXPECT_LT(cpu_ms() - before, 20);
}

TEST_P(Waiting, AnEndBehindHeldDataNeitherSpinsNorOvertakes) {
  tcp_pair p;
  set_nonblocking(p.near);
  delay(p.target(), 200);
  const double before = cpu_ms(), start = monotonic_ms();
  put(p.far, "bye");
  p.far.reset();
  EXPECT_EQ(it.wait({p.near}, 5000).size(), 1u);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 200));
  EXPECT_LT(cpu_ms() - before, 20);
  char b[8];
  EXPECT_EQ(recv(p.near, b, 8, 0), 3);
  EXPECT_EQ(recv(p.near, b, 8, 0), 0);
}

TEST_P(Waiting, UnixStreamsUdpAndPipesAreHeldWithoutSpinning) {
  udp_pair udp;
  temporary_folder folder;
  unix_pair local(folder.path());
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const unique_fd out(ends[0]), in(ends[1]);
  const struct { const char* name; std::string target; int near, far; } kinds[] = {
      {"udp", udp.target(), udp.near, udp.far},
      {"unix", local.target(), local.near, local.far},
      {"pipe", "fd:" + std::to_string(ends[0]), ends[0], ends[1]},
  };
  for (const auto& k : kinds) {
    set_nonblocking(k.near);
    const auto id = delay(k.target, 100);
    const double before = cpu_ms(), start = monotonic_ms();
    ASSERT_EQ(write(k.far, "hello", 5), 5);
    EXPECT_EQ(it.wait({k.near}, 5000).size(), 1u) << k.name;
    EXPECT_TRUE(on_time(monotonic_ms() - start, 100)) << k.name;
    EXPECT_LT(cpu_ms() - before, 20) << k.name;
    char b[8];
    EXPECT_EQ(read(k.near, b, 8), 5) << k.name;
    EXPECT_EQ(s.count(id).fired, 1u) << k.name;
    s.clear();
  }
}

TEST_P(Waiting, AResetBehindHeldDataNeitherSpinsNorOvertakes) {
  tcp_pair p;
  set_nonblocking(p.near);
  delay(p.target(), 150);
  const double start = monotonic_ms();
  put(p.far, "x");
  EXPECT_TRUE(it.wait({p.near}, 5).empty());
  const linger hard{1, 0};
  setsockopt(p.far, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  p.far.reset();
  const double before = cpu_ms();
  EXPECT_EQ(it.wait({p.near}, 5000).size(), 1u);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 150));
  EXPECT_LT(cpu_ms() - before, 20);
}

class EpollSet : public Gate {
 protected:
  unique_fd set{epoll_create1(0)};
  void add(int fd, std::uint32_t events) {
    epoll_event e{};
    e.events = events;
    e.data.fd = fd;
    ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), 0);
  }
  int wait(int ms) {
    epoll_event e[8];
    return epoll_wait(set, e, 8, ms);
  }
};

TEST_F(EpollSet, RegistrationsMadeBeforeArmingAreKnown) {
  for (const std::uint32_t flags : {0u, static_cast<std::uint32_t>(EPOLLET), static_cast<std::uint32_t>(EPOLLONESHOT)}) {
    tcp_pair p;
    set_nonblocking(p.near);
    add(p.near, EPOLLIN | flags);
    const auto id = delay(p.target(), 30);
    const double start = monotonic_ms();
    put(p.far, "x");
    EXPECT_EQ(wait(5000), 1);
    EXPECT_TRUE(on_time(monotonic_ms() - start, 30)) << flags;
    EXPECT_EQ(s.count(id).fired, 1u);
    s.clear();
  }
}

TEST_F(EpollSet, AnEdgeIsToldOnceAndTheNextOneAgain) {
  tcp_pair p;
  set_nonblocking(p.near);
  delay(p.target(), 20);
  add(p.near, EPOLLIN | EPOLLET);
  char b[8];
  for (int round = 0; round < 3; ++round) {
    put(p.far, "x");
    EXPECT_EQ(wait(5000), 1) << round;
    EXPECT_EQ(recv(p.near, b, 8, 0), 1);
    EXPECT_EQ(recv(p.near, b, 8, 0), -1);
    EXPECT_EQ(errno, EAGAIN);
    EXPECT_EQ(wait(5), 0) << "no further edge";
  }
}

TEST_F(EpollSet, AnEdgeReaderThatSawEagainIsToldOfWhatBecomesDue) {
  tcp_pair p;
  set_nonblocking(p.near);
  delay(p.target(), 40);
  add(p.near, EPOLLIN | EPOLLET);
  put(p.far, "a");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(wait(0), 0);
  put(p.far, "b");
  char b[8];
  std::string got;
  const double start = monotonic_ms();
  while (got.size() < 2 && monotonic_ms() - start < 2000)
    if (wait(500) == 1)
      for (ssize_t n; (n = recv(p.near, b, 8, 0)) > 0;) got.append(b, static_cast<std::size_t>(n));
  EXPECT_EQ(got, "ab");
  EXPECT_LT(monotonic_ms() - start, 40 + 20 + slack_ms);
}

TEST_F(EpollSet, OutputReadinessIsNotHeldWithInput) {
  tcp_pair p;
  set_nonblocking(p.near);
  delay(p.target(), 200);
  add(p.near, EPOLLIN | EPOLLOUT);
  put(p.far, "x");
  epoll_event e[4];
  const timed t = time_of([&] { return epoll_wait(set, e, 4, 5000); });
  EXPECT_EQ(t.result, 1);
  EXPECT_EQ(e[0].events, static_cast<std::uint32_t>(EPOLLOUT));
  EXPECT_LT(t.ms, 10);
}

TEST_F(EpollSet, AOneshotRegistrationFiresOnceAndIsRearmed) {
  tcp_pair p;
  set_nonblocking(p.near);
  delay(p.target(), 20);
  add(p.near, EPOLLIN | EPOLLONESHOT);
  put(p.far, "x");
  EXPECT_EQ(wait(5000), 1);
  EXPECT_EQ(wait(5), 0) << "it is disarmed, though its data was not read";
  epoll_event e{};
  e.events = EPOLLIN | EPOLLONESHOT;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_MOD, p.near, &e), 0);
  EXPECT_EQ(wait(5000), 1);
}

TEST_F(EpollSet, ARemovedDescriptorIsNotToldOf) {
  tcp_pair p;
  set_nonblocking(p.near);
  delay(p.target(), 30);
  add(p.near, EPOLLIN);
  put(p.far, "x");
  EXPECT_EQ(wait(5), 0);
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_DEL, p.near, nullptr), 0);
  EXPECT_EQ(wait(60), 0);
}

TEST_F(EpollSet, AWaiterThatLeavesEarlyOrphansNothing) {
  for (const std::uint32_t flags : {0u, static_cast<std::uint32_t>(EPOLLET), static_cast<std::uint32_t>(EPOLLONESHOT)}) {
    tcp_pair p, other;
    set_nonblocking(p.near);
    set_nonblocking(other.near);
    add(p.near, EPOLLIN | flags);
    add(other.near, EPOLLIN | flags);
    const auto id = delay(p.target(), 60);
    const double start = monotonic_ms();
    put(p.far, "x");
    std::atomic<int> in_wait{0}, told_of_held{0}, left_early{0};
    const auto waiter = [&] {  // leaves when it was told of the held one, or got the other's byte
      ++in_wait;
      for (;;) {
        epoll_event e[1];
        if (epoll_wait(set, e, 1, 2000) != 1) return;
        char c;
        if (e[0].data.fd == p.near) {
          ++told_of_held;
          recv(p.near, &c, 1, 0);
          return;
        }
        if (recv(other.near, &c, 1, 0) == 1) {
          ++left_early;
          return;
        }
      }
    };
    std::thread first(waiter);
    wait_until([&] { return s.count(id).fired > 0; });
    std::thread second(waiter);
    wait_until([&] { return in_wait == 2; });
    put(other.far, "x");  // one of them leaves with this, the other must be told of the held one
    first.join();
    second.join();
    EXPECT_TRUE(on_time(monotonic_ms() - start, 60)) << flags;
    EXPECT_EQ(left_early, 1) << flags;
    EXPECT_EQ(told_of_held, 1) << flags;
    s.clear();
    ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_DEL, p.near, nullptr), 0);
    ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_DEL, other.near, nullptr), 0);
  }
}

TEST_F(EpollSet, ALapsedLeaseLetsGo) {
  tcp_pair p;
  set_nonblocking(p.near);
  const auto id = delay(p.target(), 20'000);
  add(p.near, EPOLLIN);
  put(p.far, "x");
  std::thread daemon([&] {
    wait_until([&] { return s.count(id).fired > 0; });
    s.end_lease();
  });
  const timed t = time_of([&] { return wait(10'000); });
  daemon.join();
  EXPECT_EQ(t.result, 1);
  EXPECT_LT(t.ms, 3500);
}

TEST_F(EpollSet, TheProgramsOwnThresholdIsKept) {
  tcp_pair p;
  int five = 5, now = 0;
  socklen_t n = sizeof now;
  ASSERT_EQ(setsockopt(p.near, SOL_SOCKET, SO_RCVLOWAT, &five, sizeof five), 0);
  set_nonblocking(p.near);
  const auto id = delay(p.target(), 20);
  add(p.near, EPOLLIN);
  put(p.far, "hello");
  EXPECT_EQ(wait(5), 0);
  ASSERT_EQ(getsockopt(p.near, SOL_SOCKET, SO_RCVLOWAT, &now, &n), 0);
  EXPECT_EQ(now, 5);
  EXPECT_EQ(wait(5000), 1);
  s.remove(id);
  ASSERT_EQ(getsockopt(p.near, SOL_SOCKET, SO_RCVLOWAT, &now, &n), 0);
  EXPECT_EQ(now, 5);
}

TEST_F(Gate, FionreadAgreesWithWhatCanBeRead) {
  tcp_pair p;
  delay(p.target(), 30);
  put(p.far, "hello");
  int n = -1;
  ASSERT_EQ(ioctl(p.near, FIONREAD, &n), 0);
  EXPECT_EQ(n, 0);
  pollfd one{p.near, POLLIN, 0};
  ASSERT_EQ(poll(&one, 1, 5000), 1);
  ASSERT_EQ(ioctl(p.near, FIONREAD, &n), 0);
  EXPECT_EQ(n, 5);
}

// The set was waited on before there was a rule: nobody has looked at it, and yet the edge is owed.
TEST_F(Gate, AnEdgeThatWasToldBeforeTheRuleCameIsToldAgain) {
  tcp_pair p;
  set_nonblocking(p.near);
  const unique_fd set(epoll_create1(EPOLL_CLOEXEC));
  epoll_event e{};
  e.events = EPOLLIN | EPOLLET;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, p.near, &e), 0);
  put(p.far, "x");
  ASSERT_EQ(epoll_wait(set, &e, 1, 2000), 1);
  const auto id = delay(p.target(), 50);
  char c;
  const double start = monotonic_ms();
  ASSERT_EQ(recv(p.near, &c, 1, 0), -1);
  ASSERT_EQ(errno, EAGAIN);
  ASSERT_EQ(epoll_wait(set, &e, 1, 2000), 1);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 50));
  EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
  EXPECT_EQ(s.count(id).fired, 1u);
}

// More descriptors than one would keep on a stack: every one of them is delayed.
TEST_F(Gate, OfHundredsOfDescriptorsInOneWaitNoneIsEarly) {
  for (const bool selects : {false, true}) {
    tcp_pair p;
    std::vector<unique_fd> all;  // each is looked at for itself
    std::vector<pollfd> fds;
    fd_set set;
    FD_ZERO(&set);
    for (int i = 0; i < 700; ++i) {
      all.emplace_back(fcntl(p.near, F_DUPFD_CLOEXEC, 0));
      ASSERT_TRUE(all.back() >= 0 && all.back() < FD_SETSIZE);
      fds.push_back({all.back(), POLLIN, 0});
      FD_SET(all.back(), &set);
    }
    const auto id = delay(p.target(), 150);
    put(p.far, "x");
    timeval patience{5, 0};
    const timed t = time_of([&] { return selects ? select(all.back() + 1, &set, nullptr, nullptr, &patience) : poll(fds.data(), fds.size(), 5000); });
    EXPECT_GE(t.ms, 150 - early_ms) << (selects ? "select" : "poll");
    EXPECT_GT(t.result, 0);
    EXPECT_GE(s.count(id).fired, 1u);
    s.clear();
  }
}

}  // namespace
}  // namespace chaos::gate
