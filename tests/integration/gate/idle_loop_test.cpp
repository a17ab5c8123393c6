// An event loop that nothing happens in sleeps, also under rules that end a connection, or let it go on, without a byte: it wakes
// when one of them has something to do. This program has one thread: what it is told of nobody else can bring about.
#include "channels.hpp"
#include "ways.hpp"

#include <sys/resource.h>

namespace chaos::gate {
namespace {

constexpr int idle_ms = 400;

class Idle : public Gate {
 protected:
  // How often this thread went to sleep meanwhile.
  template <class Call>
  static long sleeps(Call call) {
    rusage before, now;
    getrusage(RUSAGE_THREAD, &before);
    call();
    getrusage(RUSAGE_THREAD, &now);
    return now.ru_nvcsw - before.ru_nvcsw;
  }
  struct loop {
    unique_fd set = epoll_create1(EPOLL_CLOEXEC);
    explicit loop(int fd) {
      epoll_event e{};
      e.events = EPOLLIN;
      EXPECT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), 0);
    }
    int wait(int ms) {
      epoll_event e;
      return epoll_wait(set, &e, 1, ms);
    }
  };
};

TEST_F(Idle, ALoopThatNoRuleIsAboutSleeps) {
  tcp_pair p;
  loop l(p.near);
  for (const char* const rule : {"partition 203.0.113.1:9", "timeout 203.0.113.1:9 1s", "reset_peer 203.0.113.1:9 1s"}) {
    const auto id = s.set(rule);
    EXPECT_LE(sleeps([&] { EXPECT_EQ(l.wait(idle_ms), 0); }), 4) << rule;
    EXPECT_EQ(s.count(id).matched, 0u);
    s.clear();
  }
}

TEST_F(Idle, ALoopWhoseConnectionMetNoRuleYetSleeps) {
  tcp_pair p;
  loop l(p.near);
  const auto id = s.set("partition " + p.target());
  EXPECT_LE(sleeps([&] { EXPECT_EQ(l.wait(idle_ms), 0); }), 4);
  EXPECT_EQ(s.count(id).matched, 0u);
  put(p.far, "x");  // and is met in the wait
  EXPECT_EQ(l.wait(20), 0);
  EXPECT_EQ(s.count(id).fired, 1u);
  s.clear();
  EXPECT_EQ(l.wait(5000), 1);
}

TEST_F(Idle, ALoopWakesWhenAConnectionEnds) {
  for (const over o : {over::tcp, over::unix_stream})
    for (const char* const kind : {"reset_peer", "timeout"}) {
      SCOPED_TRACE(std::string(kind) + " " + name_of(o));
      channel c(o);
      set_nonblocking(c.near);
      loop l(c.near);
      const auto id = s.set(std::string(kind) + " " + c.target + " 300ms");
      const double start = monotonic_ms();
      const long slept = sleeps([&] { EXPECT_EQ(l.wait(5000), 1); });
      EXPECT_TRUE(on_time(monotonic_ms() - start, 300));
      if (std::string(kind) == "reset_peer") { EXPECT_LE(slept, 6); }  // what stands still is held, and a hold is looked at in slices
      char b[8];
      EXPECT_LE(recv(c.near, b, sizeof b, 0), 0);
      EXPECT_EQ(s.count(id).fired, 1u);
      s.clear();
    }
}

}  // namespace
}  // namespace chaos::gate
