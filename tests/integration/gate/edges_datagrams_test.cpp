// A datagram that a rule takes is not there: no wait tells of it, whichever way the program waits, and the next one comes through.
#include "channels.hpp"
#include "ways.hpp"

#include <utility>

namespace chaos::gate {
namespace {

struct taking {
  over transport;
  way how;
  const char* rule;
};

class Taken : public Gate, public testing::WithParamInterface<taking> {};
std::vector<taking> every() {
  std::vector<taking> all;
  for (const over o : {over::udp, over::unix_seqpacket, over::unix_datagram})
    for (const way w : all_ways)
      if (w != way::blocking)
        for (const char* const rule : {"loss", "partition"}) all.push_back({o, w, rule});
  return all;
}
INSTANTIATE_TEST_SUITE_P(By, Taken, testing::ValuesIn(every()), [](const auto& i) { return std::string(i.param.rule) + "_" + name_of(i.param.transport) + "_" + name_of(i.param.how); });

TEST_P(Taken, ADatagramIsNotTold) {
  const auto& [transport, how, rule] = GetParam();
  channel c(transport);
  const auto id = s.set(std::string(rule) + " " + c.target + (std::string(rule) == "loss" ? " 100%" : ""));
  waiter w(c.near, how);
  for (int i = 1; i <= 3; ++i) {
    c.tell("gone");
    EXPECT_FALSE(w.ready(10)) << "told of datagram " << i << ", which is gone";
    EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(i));
  }
  char b[16];
  EXPECT_EQ(recv(c.near, b, sizeof b, 0), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(s.events(id).size(), 3u);
  s.remove(id);
  c.tell("next");
  ASSERT_TRUE(w.ready());
  EXPECT_EQ(recv(c.near, b, sizeof b, 0), 4);
}

TEST_P(Taken, TheOneBehindItIsTold) {
  const auto& [transport, how, rule] = GetParam();
  channel c(transport);
  const auto id = s.set(std::string(rule) + " " + c.target + (std::string(rule) == "loss" ? " 100%" : "") + " --when 1");
  waiter w(c.near, how);
  c.tell("gone");
  const double start = monotonic_ms();  // the other may be under way before this one goes on
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    c.tell("there");
  });
  EXPECT_TRUE(w.ready());
  EXPECT_TRUE(on_time(monotonic_ms() - start, 20));
  later.join();
  char b[16];
  EXPECT_EQ(recv(c.near, b, sizeof b, 0), 5);
  EXPECT_EQ(s.count(id).fired, 1u);
}

// One that is registered to send as well goes on being told of that.
TEST_F(Gate, ReadinessToSendIsToldBesideADatagramThatIsGone) {
  channel c(over::udp);
  const auto id = s.set("loss " + c.target + " 100%");
  set_nonblocking(c.near);
  for (const std::uint32_t flags : {0u, static_cast<std::uint32_t>(EPOLLET), static_cast<std::uint32_t>(EPOLLONESHOT)}) {
    const unique_fd set = epoll_create1(0);
    epoll_event e{};
    e.events = EPOLLIN | EPOLLOUT | flags;
    c.tell("gone");
    ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, c.near, &e), 0);
    ASSERT_EQ(epoll_wait(set, &e, 1, 1000), 1);
    EXPECT_EQ(e.events, static_cast<std::uint32_t>(EPOLLOUT)) << flags;
  }
  EXPECT_EQ(s.count(id).fired, 3u);
}

// As libuv does it, and with it bind9.
TEST_F(Gate, OfDatagramsThatAreTakenAndSentByNumberEachIsDelayedAndCounted) {
  udp_pair p;
  set_nonblocking(p.near);
  const auto in = delay(p.target(), 20), out = s.set("observe " + p.target() + " --on sendmmsg");
  const unique_fd set(epoll_create1(EPOLL_CLOEXEC));
  epoll_event e{};
  e.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, p.near, &e), 0);
  for (int i = 1; i <= 3; ++i) {
    char b[16];
    iovec part{b, sizeof b};
    mmsghdr m[2]{};
    m[0].msg_hdr.msg_iov = m[1].msg_hdr.msg_iov = &part;
    m[0].msg_hdr.msg_iovlen = m[1].msg_hdr.msg_iovlen = 1;
    const double start = monotonic_ms();
    put(p.far, "hello");
    ASSERT_EQ(epoll_wait(set, &e, 1, 2000), 1);
    EXPECT_TRUE(on_time(monotonic_ms() - start, 20));
    ASSERT_EQ(syscall(SYS_recvmmsg, static_cast<int>(p.near), m, 2, 0, nullptr), 1);
    EXPECT_EQ(std::string(b, m[0].msg_len), "hello");
    EXPECT_EQ(s.count(in).fired, static_cast<std::uint64_t>(i));
    part.iov_len = 5;
    ASSERT_EQ(syscall(SYS_sendmmsg, static_cast<int>(p.near), m, 1, 0), 1);
    EXPECT_EQ(s.count(out).fired, static_cast<std::uint64_t>(i));
  }
}

// An unconnected socket (a server, a resolver) has a peer for each datagram.
TEST_F(Gate, WhatAnUnconnectedSocketReceivesMeetsTheRulesOfItsSender) {
  const unique_fd near = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const sockaddr_in any = loopback(0);
  for (const int fd : {static_cast<int>(near), static_cast<int>(one), static_cast<int>(other)}) ASSERT_EQ(bind(fd, generic(any), sizeof any), 0);
  const sockaddr_in to = loopback(port_of(near));
  const auto tell = [&](int from, const char* text) { ASSERT_EQ(sendto(from, text, 4, 0, generic(to), sizeof to), 4); };
  char b[8] = {};
  const auto take = [&](int flags) { return recvfrom(near, b, sizeof b, flags, nullptr, nullptr); };
  const std::string target = "udp://127.0.0.1:" + std::to_string(port_of(one));

  const auto failing = s.set("error " + target + " ENOMEM --on recvfrom --times 2");
  EXPECT_EQ(take(MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN) << "nothing is there, and nobody sent it";
  tell(other, "else");
  EXPECT_EQ(take(MSG_DONTWAIT), 4);
  EXPECT_EQ(s.count(failing).matched, 0u);
  tell(one, "this");
  EXPECT_EQ(take(MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(take(0), -1) << "it is still the next one";
  EXPECT_EQ(take(0), 4);
  EXPECT_EQ(s.count(failing).fired, 2u);
  EXPECT_EQ(s.count(failing).matched, 3u);
  for (const auto& e : s.events(failing)) EXPECT_EQ(std::string(e.text), target.substr(6));
  s.clear();

  const auto flipping = s.set("corrupt " + target + " --bits 1");
  std::thread later([&] {
    tell(other, "else");
    tell(one, "this");
  });
  EXPECT_EQ(take(0), 4) << "it waits for whoever comes";
  EXPECT_STREQ(b, "else");
  EXPECT_EQ(take(0), 4);
  EXPECT_STRNE(b, "this");
  later.join();
  EXPECT_EQ(s.count(flipping).fired, 1u);

  const timeval briefly{0, 20'000};
  ASSERT_EQ(setsockopt(near, SOL_SOCKET, SO_RCVTIMEO, &briefly, sizeof briefly), 0);
  EXPECT_EQ(take(0), -1);
  EXPECT_EQ(errno, EAGAIN) << "its own time-out holds";
}

// Several threads receive on one socket (as resolvers do). What is kept for later is kept once, and given by one of them.
TEST_F(Gate, ThreadsThatReceiveOnOneSocketShareWhatComesTwiceOrLater) {
  constexpr int sent = 600, receivers = 4;
  for (const char* const rule : {"duplicate {} 100%", "reorder {} 50% --gap 1"}) {
    SCOPED_TRACE(rule);
    channel c(over::udp);
    const bool doubles = std::string(rule).starts_with("duplicate");
    const auto id = s.set(std::string(rule).replace(std::string(rule).find("{}"), 2, c.target));
    std::atomic<int> came[sent] = {};
    std::atomic<int> total{0}, different{0};
    std::atomic<bool> over_with{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < receivers; ++t)
      threads.emplace_back([&] {
        char b[16];
        while (!over_with) {
          pollfd p{c.near, POLLIN, 0};
          if (poll(&p, 1, 20) != 1) continue;
          const ssize_t n = recv(c.near, b, sizeof b, MSG_DONTWAIT);
          if (n <= 0) continue;
          const int which = std::stoi(std::string(b, static_cast<std::size_t>(n)));
          ASSERT_LT(which, sent);
          different += came[which]++ == 0;
          ++total;
        }
      });
    for (int i = 0; i < sent; ++i) {
      c.tell(std::to_string(i));
      EXPECT_TRUE(wait_until([&] { return different >= i - 100; }));  // no more than the socket's buffer takes
    }
    int last = -1;
    EXPECT_TRUE(wait_until([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(60));  // longer than a datagram waits for one to pass it
      return std::exchange(last, total.load()) == total;
    }));
    over_with = true;
    for (auto& t : threads) t.join();
    const auto fired = static_cast<int>(s.count(id).fired);
    EXPECT_GT(fired, sent / 4);
    EXPECT_LE(fired, sent);
    // One that takes the head while another one looks at it has it judged a second time, or not at all.
    const int apart = sent / 10;
    EXPECT_GE(different, sent - apart);
    EXPECT_LE(total, sent + (doubles ? fired : 0) + apart);
    if (doubles) { EXPECT_GE(total, different + fired / 2); }
    s.clear();
  }
}

}  // namespace
}  // namespace chaos::gate
