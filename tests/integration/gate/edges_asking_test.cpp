// Programs that do not wait: they ask again and again, and what comes between two questions is delayed as well.
#include "channels.hpp"

namespace chaos::gate {
namespace {

constexpr int rounds = 100, delay_ms = 3;

using Asking = Gate;

// `tell()` on another thread, while this one calls `ask()` until it says yes; in ms from before the one to after the other.
template <class Tell, class Ask>
double asked_until(Tell tell, Ask ask) {
  std::atomic<double> told{0};
  std::thread other([&] {
    const double now = monotonic_ms();
    tell();
    told = now;
  });
  while (!ask()) {}
  const double end = monotonic_ms();
  other.join();
  return end - told;
}

TEST_F(Asking, WhatComesRightAfterALookIsDelayedToo) {
  for (const over o : all_transports) {
    SCOPED_TRACE(name_of(o));
    channel c(o);
    set_nonblocking(c.near);
    const auto id = delay(c.target, delay_ms);
    int early = 0;
    for (int i = 0; i < rounds; ++i) {
      char b[8];
      const auto ask = [&] {
        const long n = recv(c.near, b, sizeof b, 0);
        EXPECT_TRUE(n == 1 || (n == -1 && errno == EAGAIN)) << n << " " << strerror(errno);
        return n != -1 || errno != EAGAIN;
      };
      early += asked_until([&] { c.tell("x"); }, ask) < delay_ms - early_ms;
    }
    EXPECT_EQ(early, 0);
    EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(rounds));
    s.clear();
  }
}

TEST_F(Asking, SoIsAConnection) {
  const listener service;
  set_nonblocking(service.fd);
  const auto id = s.set("latency listen:" + std::to_string(service.port) + " " + std::to_string(delay_ms) + "ms --on accept");
  int early = 0;
  for (int i = 0; i < rounds; ++i) {
    const unique_fd far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = loopback(service.port);
    unique_fd made;
    const auto ask = [&] {
      made = accept(service.fd, nullptr, nullptr);
      EXPECT_TRUE(made >= 0 || errno == EAGAIN) << strerror(errno);
      return made >= 0 || errno != EAGAIN;
    };
    early += asked_until([&] { syscall(SYS_connect, static_cast<int>(far), generic(to), sizeof to); }, ask) < delay_ms - early_ms;
  }
  EXPECT_EQ(early, 0);
  EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(rounds));
}

// Nothing that the kernel would say instead is lost: there is an end, an error, or a byte beside the queue.
TEST_F(Asking, AnEmptyQueueIsNotWhatAnEndLooksLike) {
  for (const over o : all_transports) {
    if (!is_stream(o)) continue;
    SCOPED_TRACE(name_of(o));
    channel c(o);
    set_nonblocking(c.near);
    delay(c.target, delay_ms);
    char b[8];
    EXPECT_EQ(recv(c.near, b, sizeof b, 0), -1);
    EXPECT_EQ(errno, EAGAIN);
    c.far.reset();
    EXPECT_EQ(asked_until([] {}, [&] { return recv(c.near, b, sizeof b, 0) == 0; }) < 1000, true);
    s.clear();
  }
  tcp_pair p;
  set_nonblocking(p.near);
  delay(p.target(), delay_ms);
  put(p.far, "a");
  ASSERT_EQ(send(p.far, "!", 1, MSG_OOB), 1);
  put(p.far, "b");
  std::string got;
  const double start = monotonic_ms();
  while (got.size() < 2 && monotonic_ms() - start < 2000) {
    char c;
    if (recv(p.near, &c, 1, 0) == 1) got += c;
  }
  EXPECT_EQ(got, "ab");
}

// A reader that blocks where the urgent byte stands is not kept from what follows, and does not turn in circles.
TEST_F(Asking, WhatStandsBehindAnUrgentByteIsReadByOneThatBlocks) {
  tcp_pair p;
  const auto id = delay(p.target(), 30);
  put(p.far, "a");
  ASSERT_EQ(send(p.far, "!", 1, MSG_OOB), 1);
  put(p.far, "b");
  char c = 0;
  EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
  EXPECT_EQ(c, 'a');
  timespec before{}, after{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  EXPECT_EQ(c, 'b');
  EXPECT_LT((after.tv_sec - before.tv_sec) * 1e3 + (after.tv_nsec - before.tv_nsec) / 1e6, 15);
  EXPECT_GE(s.count(id).fired, 1u);
}

}  // namespace
}  // namespace chaos::gate
