// Latency where the caller asked to block: in the call itself, by data that has arrived, with the call's own meaning kept.
#include "gate.hpp"

#include <sys/wait.h>

#include <csignal>
#include <vector>

namespace chaos::gate {
namespace {

using Blocking = Gate;

TEST_F(Blocking, EveryReadingCallGetsItsDataOnTime) {
  const std::pair<const char*, std::function<long(int, char*)>> calls[] = {
      {"recv", [](int fd, char* b) { return recv(fd, b, 5, 0); }},
      {"read", [](int fd, char* b) { return read(fd, b, 5); }},
      {"recvfrom", [](int fd, char* b) { return recvfrom(fd, b, 5, 0, nullptr, nullptr); }},
      {"readv", [](int fd, char* b) { iovec v[2] = {{b, 2}, {b + 2, 3}}; return readv(fd, v, 2); }},
      {"recvmsg", [](int fd, char* b) { iovec v{b, 5}; msghdr m{}; m.msg_iov = &v; m.msg_iovlen = 1; return recvmsg(fd, &m, 0); }},
  };
  for (const auto& [name, call] : calls) {
    tcp_pair p;
    const auto id = delay(p.target(), 20);
    char b[6] = {};
    const double start = monotonic_ms();
    put(p.far, "hello");
    const long n = call(p.near, b);
    EXPECT_TRUE(on_time(monotonic_ms() - start, 20)) << name;
    EXPECT_EQ(n, 5) << name;
    EXPECT_STREQ(b, "hello") << name;
    EXPECT_EQ(s.count(id).fired, 1u) << name;
    EXPECT_EQ(s.count(id).delayed_ns, 20'000'000u) << name;
    s.clear();
  }
}

TEST_F(Blocking, TheDelayBeginsWhenDataArrivesNotWhenItIsAskedFor) {
  tcp_pair p;
  delay(p.target(), 40);
  const double start = monotonic_ms();  // the other may be under way before this one goes on
  std::thread late([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    put(p.far, "x");
  });
  char c;
  EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 100));
  late.join();
}

TEST_F(Blocking, LatencyIsNoThroughputLimit) {  // 50 messages 1 ms apart, each 30 ms late: 80 ms in all, not 1500
  tcp_pair p;
  const auto id = delay(p.target(), 30);
  const double start = monotonic_ms();
  std::thread sender([&] {
    for (int i = 0; i < 50; ++i) {
      put(p.far, "0123456789");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  char b[500];
  std::size_t got = 0;
  while (got < sizeof b) {
    const ssize_t n = recv(p.near, b + got, sizeof b - got, 0);
    ASSERT_GT(n, 0);
    got += static_cast<std::size_t>(n);
  }
  const double took = monotonic_ms() - start;
  sender.join();
  EXPECT_GE(took, 30 - early_ms);
  EXPECT_LT(took, 250);
  EXPECT_GE(s.count(id).fired, 1u);
}

TEST_F(Blocking, APeekWaitsAndTheReadAfterItDoesNot) {
  tcp_pair p;
  delay(p.target(), 20);
  const double start = monotonic_ms();
  put(p.far, "hello");
  char b[5];
  EXPECT_EQ(recv(p.near, b, 5, MSG_PEEK), 5);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 20));
  const timed read = time_of([&] { return recv(p.near, b, 5, 0); });
  EXPECT_EQ(read.result, 5);
  EXPECT_LT(read.ms, 15);
}

TEST_F(Blocking, WaitallCollectsAllOfIt) {
  tcp_pair p;
  delay(p.target(), 20);
  const double start = monotonic_ms();
  std::thread sender([&] {
    put(p.far, "hel");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    put(p.far, "lo");
  });
  char b[6] = {};
  EXPECT_EQ(recv(p.near, b, 5, MSG_WAITALL), 5);
  EXPECT_GE(monotonic_ms() - start, 30 - early_ms);
  EXPECT_STREQ(b, "hello");
  sender.join();
}

TEST_F(Blocking, ReceiveTimeoutEndsTheWaitAndKeepsTheData) {
  tcp_pair p;
  delay(p.target(), 100);
  const timeval soon{0, 20'000};
  setsockopt(p.near, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
  put(p.far, "hello");
  const double start = monotonic_ms();
  char b[5];
  const timed first = time_of([&] { return recv(p.near, b, 5, 0); });
  EXPECT_EQ(first.result, -1);
  EXPECT_EQ(first.error, EAGAIN);
  EXPECT_TRUE(on_time(first.ms, 20));
  long n = -1;
  while (n < 0 && monotonic_ms() - start < 2000) n = recv(p.near, b, 5, 0);
  EXPECT_EQ(n, 5);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 100));
}

TEST_F(Blocking, DontwaitDoesNotWait) {
  tcp_pair p;
  delay(p.target(), 50);
  put(p.far, "x");
  char c;
  const timed t = time_of([&] { return recv(p.near, &c, 1, MSG_DONTWAIT); });
  EXPECT_EQ(t.result, -1);
  EXPECT_EQ(t.error, EAGAIN);
  EXPECT_LT(t.ms, 5);
  EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
}

TEST_F(Blocking, TheEndComesBehindTheLastByte) {
  tcp_pair p;
  delay(p.target(), 30);
  const double start = monotonic_ms();
  put(p.far, "bye");
  p.far.reset();
  char b[8];
  EXPECT_EQ(recv(p.near, b, 8, 0), 3);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 30));
  EXPECT_EQ(recv(p.near, b, 8, 0), 0);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 30));
}

TEST_F(Blocking, AnEndAloneIsDelayedToo) {
  tcp_pair p;
  delay(p.target(), 30);
  const double start = monotonic_ms();
  p.far.reset();
  char c;
  EXPECT_EQ(recv(p.near, &c, 1, 0), 0);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 30));
}

TEST_F(Blocking, AResetComesBehindHeldData) {
  tcp_pair p;
  delay(p.target(), 30);
  const double start = monotonic_ms();
  put(p.far, "bye");
  char b[8];
  EXPECT_EQ(recv(p.near, b, 8, MSG_DONTWAIT), -1);
  const linger hard{1, 0};
  setsockopt(p.far, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  p.far.reset();
  EXPECT_EQ(recv(p.near, b, 8, 0), 3);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 30));
  EXPECT_EQ(recv(p.near, b, 8, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 30));
}

TEST_F(Blocking, RemovalLetsGoWithin10Ms) {
  expect_prompt([&] {
    tcp_pair p;
    const auto id = delay(p.target(), 5000);
    put(p.far, "hello");
    double removed = 0;
    std::thread remover([&] {
      wait_until([&] { return s.count(id).fired > 0; });
      removed = monotonic_ms();
      s.remove(id);
    });
    char b[5];
    EXPECT_EQ(recv(p.near, b, 5, 0), 5);
    const double now = monotonic_ms();
    remover.join();
    return now - removed;
  });
}

TEST_F(Blocking, EveryArrivalIsCountedOnce) {
  tcp_pair p;
  const auto id = s.set("latency " + p.target() + " 20us");
  std::thread peer([&] {
    char c;
    while (recv(p.far, &c, 1, 0) == 1) send(p.far, &c, 1, MSG_NOSIGNAL);
  });
  constexpr int rounds = 3000;
  for (int i = 0; i < rounds; ++i) {
    char c = 'x';
    ASSERT_EQ(send(p.near, &c, 1, 0), 1);
    ASSERT_EQ(recv(p.near, &c, 1, 0), 1);
  }
  EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(rounds));
  shutdown(p.near, SHUT_WR);
  peer.join();
}

TEST_F(Blocking, ALapsedLeaseLetsGo) {
  tcp_pair p;
  const auto id = delay(p.target(), 20'000);
  put(p.far, "hello");
  std::thread daemon([&] {
    wait_until([&] { return s.count(id).fired > 0; });
    s.end_lease();
  });
  char b[5];
  const timed t = time_of([&] { return recv(p.near, b, 5, 0); });
  daemon.join();
  EXPECT_EQ(t.result, 5);
  EXPECT_LT(t.ms, 3500);
}

TEST_F(Blocking, HoldingCostsNoCpu) {
  tcp_pair p;
  delay(p.target(), 400);
  put(p.far, "hello");
  const double before = cpu_ms();
  char b[5];
  EXPECT_EQ(recv(p.near, b, 5, 0), 5);
  EXPECT_LT(cpu_ms() - before, 20);
}

TEST_F(Blocking, ASignalWithoutRestartInterruptsAndOneWithItDoesNot) {
  for (const int flags : {0, SA_RESTART}) {
    tcp_pair p;
    const auto id = delay(p.target(), 80);
    struct sigaction action{};
    action.sa_handler = [](int) {};
    action.sa_flags = flags;
    sigaction(SIGUSR1, &action, nullptr);
    put(p.far, "x");
    const pthread_t me = pthread_self();
    std::thread nudge([&] {
      wait_until([&] { return s.count(id).fired > 0; });
      pthread_kill(me, SIGUSR1);
    });
    char c;
    const timed t = time_of([&] { return recv(p.near, &c, 1, 0); });
    nudge.join();
    if (flags) {
      EXPECT_EQ(t.result, 1);
      EXPECT_TRUE(on_time(t.ms, 80));
    } else {
      EXPECT_EQ(t.result, -1);
      EXPECT_EQ(t.error, EINTR);
      EXPECT_LT(t.ms, 60);
    }
    signal(SIGUSR1, SIG_DFL);
    s.clear();
  }
}

TEST_F(Blocking, OtherConnectionsAreNotDelayed) {
  tcp_pair slow, other;
  delay(slow.target(), 200);
  put(slow.far, "x");
  put(other.far, "x");
  char c;
  const timed t = time_of([&] { return recv(other.near, &c, 1, 0); });
  EXPECT_EQ(t.result, 1);
  EXPECT_LT(t.ms, 10);
}

TEST_F(Blocking, UdpUnixAndPipesAreDelayed) {
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
    const auto id = delay(k.target, 20);
    const double start = monotonic_ms();
    ASSERT_EQ(write(k.far, "hello", 5), 5);
    char b[6] = {};
    EXPECT_EQ(read(k.near, b, 5), 5) << k.name;
    EXPECT_STREQ(b, "hello") << k.name;
    EXPECT_TRUE(on_time(monotonic_ms() - start, 20)) << k.name;
    EXPECT_EQ(s.count(id).fired, 1u) << k.name;
    s.clear();
  }
}

TEST_F(Blocking, DatagramsKeepTheirBordersAndOrder) {
  udp_pair p;
  const auto id = delay(p.target(), 10);
  for (int i = 0; i < 5; ++i) put(p.far, std::string(static_cast<std::size_t>(i + 1), static_cast<char>('a' + i)));
  const double start = monotonic_ms();
  for (int i = 0; i < 5; ++i) {
    char b[16] = {};
    EXPECT_EQ(recv(p.near, b, sizeof b, 0), i + 1);
    EXPECT_EQ(b[0], 'a' + i);
  }
  EXPECT_LT(monotonic_ms() - start, 10 + slack_ms) << "each has its own due time: they do not add up";
  EXPECT_EQ(s.count(id).fired, 5u);
}

}  // namespace
}  // namespace chaos::gate
