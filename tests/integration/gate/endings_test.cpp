// Faults that end a connection T later: whoever waits in it, in whatever way, hears of that then, though nothing arrives.
// And delays of what is sent: asleep where the caller asked to block, else on what comes next.
#include "channels.hpp"
#include "ways.hpp"

namespace chaos::gate {
namespace {

class Ending : public Gate, public testing::WithParamInterface<way> {};
INSTANTIATE_TEST_SUITE_P(By, Ending, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

// What a reader gets when it is told of something: bytes, 0 at the end, -1 with errno.
timed receive_once(int fd, way how) {
  waiter w(fd, how);
  return time_of([&] {
    char b[8];
    for (;;) {
      if (!w.ready(3000)) { errno = ETIMEDOUT; return ssize_t{-1}; }
      const ssize_t n = recv(fd, b, sizeof b, 0);
      if (n >= 0 || errno != EAGAIN) return n;
      w.again();
    }
  });
}

TEST_P(Ending, ATimeoutClosesAConnectionThatIsSilent) {
  for (const over o : {over::tcp, over::unix_stream}) {
    channel c(o);
    const auto id = s.set("timeout " + c.target + " 50ms");
    EXPECT_EQ(send(c.near, "ask", 3, MSG_NOSIGNAL), 3);  // taken, and never there
    const timed t = receive_once(c.near, GetParam());
    EXPECT_EQ(t.result, 0) << name_of(o) << " " << strerrorname_np(t.error);
    EXPECT_TRUE(on_time(t.ms, 50 - 1)) << name_of(o);
    EXPECT_EQ(c.hear(1), "");
    EXPECT_GE(s.count(id).fired, 1u);
    EXPECT_EQ(s.events(id).size(), s.count(id).fired);
    s.clear();
  }
}

TEST_P(Ending, AResetPeerLetsEverythingThroughBefore) {
  tcp_pair p;
  const auto id = s.set("reset_peer " + p.target() + " 60ms");
  const double start = monotonic_ms();
  put(p.far, "hello");
  EXPECT_EQ(read_by(p.near, GetParam(), 5), "hello");
  EXPECT_LT(monotonic_ms() - start, 30);
  EXPECT_EQ(s.count(id).fired, 0u);
  while (monotonic_ms() - start < 61) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(send(p.near, "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_P(Ending, OneEndCountsOnceWhateverIsStillSent) {
  for (const char* const rule : {"limit_data {} 5B --direction both", "timeout {} 20ms"})
    for (const over o : {over::tcp, over::unix_stream}) {
      SCOPED_TRACE(std::string(rule) + " over " + name_of(o));
      channel c(o);
      std::string words = rule;
      const auto id = s.set(words.replace(words.find("{}"), 2, c.target));
      c.tell("hello");
      EXPECT_EQ(read_by(c.near, GetParam(), 5), words.starts_with("timeout") ? "" : "hello");
      EXPECT_EQ(read_by(c.near, GetParam(), 1), "");
      const auto at_the_end = s.count(id).fired;
      EXPECT_EQ(at_the_end, 1u);
      for (int again = 0; again < 3; ++again) {
        EXPECT_EQ(send(c.near, "more", 4, MSG_NOSIGNAL), -1);
        EXPECT_EQ(errno, EPIPE);
      }
      EXPECT_EQ(s.count(id).fired, at_the_end);
      EXPECT_EQ(s.events(id).size(), at_the_end);
      s.clear();
    }
}

class Upstream : public Gate, public testing::WithParamInterface<way> {};
INSTANTIATE_TEST_SUITE_P(By, Upstream, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

TEST_P(Upstream, LatencySleepsInTheCallOrIsOnWhatComesNext) {
  for (const over o : all_transports) {
    SCOPED_TRACE(name_of(o));
    channel c(o);
    const bool blocks = GetParam() == way::blocking;
    if (!blocks) set_nonblocking(c.near);
    const auto id = s.set("latency " + c.target + " 30ms --direction up");
    const double start = monotonic_ms();
    EXPECT_EQ(send(c.near, "ask", 3, MSG_NOSIGNAL), 3);
    const double sent = monotonic_ms() - start;
    if (blocks) EXPECT_TRUE(on_time(sent, 30));
    else EXPECT_LT(sent, 15) << "an event loop does not sleep";
    EXPECT_EQ(c.hear(3), "ask");
    const double told = monotonic_ms();
    c.tell("hello");
    EXPECT_EQ(read_by(c.near, GetParam(), 5, !is_stream(o)), "hello");
    if (blocks) EXPECT_LT(monotonic_ms() - told, 15);
    else EXPECT_TRUE(on_time(monotonic_ms() - told, 30));
    c.tell("again");
    const double later = monotonic_ms();
    EXPECT_EQ(read_by(c.near, GetParam(), 5, !is_stream(o)), "again");
    EXPECT_LT(monotonic_ms() - later, 15) << "once";
    EXPECT_EQ(s.count(id).fired, 1u);
    EXPECT_EQ(s.events(id).size(), 1u);
    s.clear();
  }
}

}  // namespace
}  // namespace chaos::gate
