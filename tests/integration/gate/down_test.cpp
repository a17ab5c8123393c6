// down: connects are refused, unreachable or never answered, on blocking and non-blocking sockets, with the kernel's own
// EINPROGRESS, readiness and SO_ERROR; live connections break alike; removal heals.
#include "gate.hpp"
#include "sinks.hpp"

namespace chaos::gate {
namespace {

class Down : public Gate {
 protected:
  listener service;
  unique_fd client(int flags = 0) { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0); }
  long call(int fd, const listener& l) {
    const sockaddr_in to = loopback(l.port);
    return connect(fd, generic(to), sizeof to);
  }
  std::uint32_t down(const std::string& how) { return s.set("down " + service.target() + " --how " + how); }
  static int so_error(int fd) {
    int e = 0;
    socklen_t n = sizeof e;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
    return e;
  }
};

TEST_F(Down, RefusesABlockingConnectOnly) {
  const auto id = down("refuse");
  const unique_fd fd = client();
  EXPECT_EQ(call(fd, service), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(s.count(id).fired, 1u);
  const listener other;
  const unique_fd another = client();
  EXPECT_EQ(call(another, other), 0) << "another service is up";
  EXPECT_EQ(s.count(id).matched, 1u);
}

TEST_F(Down, IsUnreachableAtOnce) {
  const auto id = down("unreachable");
  const unique_fd fd = client();
  EXPECT_EQ(call(fd, service), -1);
  EXPECT_EQ(errno, EHOSTUNREACH);
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Down, ABlackholeHoldsABlockingConnectUntilRemoved) {
  expect_prompt([&] {
    const auto id = down("blackhole");
    const unique_fd fd = client();
    double removed = 0;
    std::thread remover([&] {
      wait_until([&] { return s.count(id).fired > 0; });
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      removed = monotonic_ms();
      s.remove(id);
    });
    EXPECT_EQ(call(fd, service), 0) << "healed: the connect goes through";
    const double now = monotonic_ms();
    remover.join();
    EXPECT_GE(now, removed);
    return now - removed;
  });
}

TEST_F(Down, ABlackholeEndsWithTheSendTimeout) {
  down("blackhole");
  const unique_fd fd = client();
  const timeval soon{0, 30'000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
  const timed t = time_of([&] { return call(fd, service); });
  EXPECT_EQ(t.result, -1);
  EXPECT_EQ(t.error, EINPROGRESS);
  EXPECT_TRUE(on_time(t.ms, 30));
}

TEST_F(Down, ANonblockingConnectIsRefusedAsTheKernelDoesIt) {
  const sinks made(s);
  const auto id = down("refuse");
  const unique_fd fd = client(SOCK_NONBLOCK);
  const long r = call(fd, service);
  EXPECT_EQ(r, -1);
  if (errno == EINPROGRESS) {  // over loopback the kernel may already know
    pollfd p{fd, POLLOUT, 0};
    EXPECT_EQ(poll(&p, 1, 5000), 1);
    EXPECT_TRUE(p.revents & (POLLERR | POLLHUP));
    EXPECT_EQ(so_error(fd), ECONNREFUSED);
  } else {
    EXPECT_EQ(errno, ECONNREFUSED);
  }
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Down, ANonblockingConnectIntoABlackholeStaysPendingAndHeals) {
  const sinks made(s);
  const auto id = down("blackhole");
  const unique_fd fd = client(SOCK_NONBLOCK);
  ASSERT_EQ(call(fd, service), -1);
  ASSERT_EQ(errno, EINPROGRESS);
  EXPECT_EQ(s.count(id).fired, 1u);
  pollfd p{fd, POLLOUT, 0};
  EXPECT_EQ(poll(&p, 1, 30), 0) << "pending";
  const double before = cpu_ms();
  EXPECT_EQ(poll(&p, 1, 200), 0);
  EXPECT_LT(cpu_ms() - before, 20);
  s.remove(id);
  const timed t = time_of([&] { return poll(&p, 1, 5000); });
  EXPECT_EQ(t.result, 1);
  EXPECT_LT(t.ms, 10 + slack_ms);
  EXPECT_EQ(so_error(fd), 0);
  sockaddr_in peer{};
  socklen_t n = sizeof peer;
  ASSERT_EQ(getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &n), 0);
  EXPECT_EQ(ntohs(peer.sin_port), service.port);
  const unique_fd taken = accept(service.fd, nullptr, nullptr);
  EXPECT_EQ(write(fd, "x", 1), 1);
  char c = 0;
  EXPECT_EQ(read(taken, &c, 1), 1);
  EXPECT_EQ(c, 'x');
}

TEST_F(Down, TheSameOverIpv6) {
  unique_fd listening = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in6 any = loopback_v6(0);
  if (bind(listening, generic(any), sizeof any) != 0) GTEST_SKIP() << "no ::1 here";
  listen(listening, 8);
  const sinks made(s);
  const sockaddr_in6 to = loopback_v6(port_of(listening));
  const std::string target = "[::1]:" + std::to_string(port_of(listening));
  const auto socket_v6 = [](int flags) { return unique_fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | flags, 0)); };
  auto id = s.set("down " + target);
  {
    const unique_fd waits = socket_v6(0), loops = socket_v6(SOCK_NONBLOCK);
    EXPECT_EQ(connect(waits, generic(to), sizeof to), -1);
    EXPECT_EQ(errno, ECONNREFUSED);
    EXPECT_EQ(connect(loops, generic(to), sizeof to), -1);
    if (errno == EINPROGRESS) {
      pollfd p{loops, POLLOUT, 0};
      EXPECT_EQ(poll(&p, 1, 5000), 1);
      EXPECT_EQ(so_error(loops), ECONNREFUSED);
    } else {
      EXPECT_EQ(errno, ECONNREFUSED);
    }
    EXPECT_EQ(s.count(id).fired, 2u);
  }
  s.remove(id);
  id = s.set("down " + target + " --how blackhole");
  const unique_fd fd = socket_v6(SOCK_NONBLOCK);
  EXPECT_EQ(connect(fd, generic(to), sizeof to), -1);
  EXPECT_EQ(errno, EINPROGRESS);
  pollfd p{fd, POLLOUT, 0};
  EXPECT_EQ(poll(&p, 1, 30), 0) << "pending";
  sockaddr_in6 peer{};
  socklen_t n = sizeof peer;
  s.remove(id);
  EXPECT_EQ(poll(&p, 1, 5000), 1);
  EXPECT_EQ(so_error(fd), 0);
  ASSERT_EQ(getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &n), 0);
  EXPECT_EQ(peer.sin6_port, to.sin6_port);
  EXPECT_EQ(s.count(id).fired, 1u);
}

// Where there is no port: connects to the path of a unix socket.
TEST_F(Down, UnixConnectsAreRefusedUnreachableAndSlow) {
  const temporary_folder folder;
  unix_pair p(folder.path());
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::strncpy(to.sun_path, p.path.c_str(), sizeof to.sun_path - 1);
  const auto dial = [&](int flags) {
    const unique_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    return time_of([&] { return connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to); });
  };
  for (const int flags : {0, static_cast<int>(SOCK_NONBLOCK)}) {
    for (const auto& [how, error] : {std::pair{"refuse", ECONNREFUSED}, std::pair{"unreachable", EHOSTUNREACH}}) {
      const auto id = s.set("down " + p.target() + " --on connect --how " + how);
      const timed t = dial(flags);
      EXPECT_EQ(t.result, -1) << how;
      EXPECT_EQ(t.error, error) << how;
      EXPECT_EQ(s.count(id).fired, 1u);
      s.clear();
    }
  }
  const auto id = s.set("latency " + p.target() + " 30ms --on connect");
  const timed t = dial(0);
  EXPECT_EQ(t.result, 0);
  EXPECT_TRUE(on_time(t.ms, 30));
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Down, AnEpollSetSeesAHealedConnect) {
  const sinks made(s);
  for (const bool registered_first : {false, true}) {
    const auto id = down("blackhole");
    const unique_fd fd = client(SOCK_NONBLOCK), set = epoll_create1(0);
    epoll_event e{};
    e.events = EPOLLOUT | EPOLLIN | EPOLLET;
    e.data.fd = fd;
    if (registered_first) { EXPECT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), 0); }
    ASSERT_EQ(call(fd, service), -1);
    ASSERT_EQ(errno, EINPROGRESS);
    if (!registered_first) { EXPECT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), 0); }
    epoll_event got[2];
    epoll_wait(set, got, 2, 0);  // registered before connect(): the kernel's own HUP edge of a fresh socket
    EXPECT_EQ(epoll_wait(set, got, 2, 30), 0) << registered_first;
    s.remove(id);
    EXPECT_EQ(epoll_wait(set, got, 2, 2000), 1) << registered_first;
    EXPECT_TRUE(got[0].events & EPOLLOUT) << registered_first;
    EXPECT_EQ(so_error(fd), 0) << registered_first;
  }
}

TEST_F(Down, LiveConnectionsAreReset) {
  tcp_pair p;
  const auto id = s.set("down " + p.target());
  EXPECT_EQ(send(p.near, "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(s.count(id).fired, 1u);
  char c;
  EXPECT_EQ(recv(p.far, &c, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET) << "a real RST";
}

TEST_F(Down, ABlackholedLiveConnectionHealsWithoutLoss) {
  tcp_pair p;
  const auto id = s.set("down " + p.target() + " --how blackhole");
  put(p.far, "hello");
  std::thread remover([&] {
    wait_until([&] { return s.count(id).fired > 0; });
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    s.remove(id);
  });
  char b[6] = {};
  const timed t = time_of([&] { return recv(p.near, b, 5, 0); });
  remover.join();
  EXPECT_EQ(t.result, 5);
  EXPECT_STREQ(b, "hello");
  EXPECT_GE(t.ms, 30 - early_ms);
}

TEST_F(Down, ASlowConnectIsSlowOnBothKindsOfSockets) {
  const auto id = s.set("latency " + service.target() + " 30ms --on connect");
  const unique_fd waits = client(), loops = client(SOCK_NONBLOCK);
  const timed t = time_of([&] { return call(waits, service); });
  EXPECT_EQ(t.result, 0);
  EXPECT_TRUE(on_time(t.ms, 30));
  const double start = monotonic_ms();
  EXPECT_EQ(call(loops, service), -1);
  EXPECT_EQ(errno, EINPROGRESS);
  pollfd p{loops, POLLOUT, 0};
  EXPECT_EQ(poll(&p, 1, 5000), 1);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 30));
  EXPECT_EQ(so_error(loops), 0);
  EXPECT_EQ(s.count(id).fired, 2u);
}

TEST_F(Down, ResetPeerSendsARealReset) {
  tcp_pair p;
  const auto id = s.set("reset_peer " + p.target());
  put(p.far, "hello");
  char b[5];
  EXPECT_EQ(recv(p.near, b, 5, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(s.count(id).fired, 1u);
  EXPECT_TRUE(wait_until([&] { return send(p.far, "x", 1, MSG_NOSIGNAL) < 0; }));
  EXPECT_EQ(recv(p.near, b, 5, 0), 0);
}

}  // namespace
}  // namespace chaos::gate
