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
  for (const over o : {over::tcp, over::unix_stream})
    for (const bool asks : {true, false}) {  // else the time begins with the wait
      SCOPED_TRACE(name_of(o) + (asks ? ", asked" : ""));
      channel c(o);
      const auto id = s.set("timeout " + c.target + " 50ms");
      if (asks) { EXPECT_EQ(send(c.near, "ask", 3, MSG_NOSIGNAL), 3); }  // taken, and never there
      const timed t = receive_once(c.near, GetParam());
      EXPECT_EQ(t.result, 0) << strerrorname_np(t.error);
      EXPECT_TRUE(on_time(t.ms, 50 - 1));
      EXPECT_EQ(c.hear(1), "");
      EXPECT_GE(s.count(id).fired, 1u);
      EXPECT_EQ(s.events(id).size(), s.count(id).fired);
      s.clear();
    }
}

TEST_P(Ending, AResetPeerEndsAConnectionThatIsSilent) {
  for (const over o : {over::tcp, over::tcp6, over::unix_stream})
    for (const bool asks : {true, false}) {
      if (o == over::tcp6 && !has_v6()) continue;
      SCOPED_TRACE(name_of(o) + (asks ? ", asked" : ""));
      channel c(o);
      const auto id = s.set("reset_peer " + c.target + " 50ms");
      if (asks) { EXPECT_EQ(send(c.near, "ask", 3, MSG_NOSIGNAL), 3); }
      const timed t = receive_once(c.near, GetParam());
      EXPECT_EQ(t.result, -1);
      EXPECT_EQ(t.error, ECONNRESET) << strerrorname_np(t.error);
      EXPECT_TRUE(on_time(t.ms, 50 - 1));
      EXPECT_EQ(s.count(id).fired, 1u);
      ASSERT_EQ(s.events(id).size(), 1u);
      EXPECT_EQ(s.events(id)[0].error, ECONNRESET);
      char b[8];
      if (is_tcp(o)) {
        long n;
        while ((n = syscall(SYS_recvfrom, c.far.operator int(), b, sizeof b, 0, nullptr, nullptr)) > 0) {}
        EXPECT_EQ(n, -1);
        EXPECT_EQ(errno, ECONNRESET) << "a real RST";
      } else {
        EXPECT_EQ(c.hear(8), asks ? "ask" : "");
      }
      EXPECT_EQ(recv(c.near, b, sizeof b, 0), 0) << "told once";
      EXPECT_EQ(send(c.near, "x", 1, MSG_NOSIGNAL), -1);
      EXPECT_EQ(errno, EPIPE);
      EXPECT_EQ(s.count(id).fired, 1u);
      s.clear();
    }
}

TEST_P(Ending, WhoIsNotMeantIsNotEnded) {
  for (const char* const rule : {"reset_peer {} 20ms --toxicity 0", "timeout {} 20ms --toxicity 0", "reset_peer {} 20ms --dry-run", "reset_peer {} 20ms --on write",
                                 "reset_peer {} 20ms --direction up", "timeout {} 20ms --when 50"})
    for (const over o : {over::tcp, over::unix_stream}) {
      SCOPED_TRACE(std::string(rule) + " over " + name_of(o));
      channel c(o);
      std::string words = rule;
      const auto id = s.set(words.replace(words.find("{}"), 2, c.target));
      std::thread late([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        c.tell("still here");
      });
      EXPECT_EQ(read_by(c.near, GetParam(), 10), "still here");
      late.join();
      if (words.find("--dry-run") == std::string::npos) { EXPECT_EQ(s.count(id).fired, 0u); }
      s.clear();
    }
}

TEST_P(Ending, ARuleThatIsRemovedInTimeEndsNothing) {
  for (const char* const rule : {"reset_peer {} 100ms", "timeout {} 100ms"}) {
    channel c(over::tcp);
    std::string words = rule;
    const auto id = s.set(words.replace(words.find("{}"), 2, c.target));
    std::thread late([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      s.remove(id);
      std::this_thread::sleep_for(std::chrono::milliseconds(120));
      c.tell("still here");
    });
    EXPECT_EQ(read_by(c.near, GetParam(), 10), "still here") << rule;
    late.join();
    s.clear();
  }
}

// What is sent is taken until then, so that there is room to send at once: an event loop sees its connect finished.
TEST_F(Gate, ATimeoutHoldsBackNoRoomToSend) {
  for (const way w : all_ways) {
    if (w == way::blocking) continue;
    SCOPED_TRACE(name_of(w));
    listener l;
    const auto id = s.set("timeout " + l.target() + " 80ms");
    const unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const sockaddr_in to = loopback(l.port);
    const double start = monotonic_ms();
    if (connect(fd, generic(to), sizeof to) != 0) { ASSERT_EQ(errno, EINPROGRESS); }
    waiter room(fd, w, EPOLLOUT);
    EXPECT_TRUE(room.ready(3000));
    EXPECT_LT(monotonic_ms() - start, 60);
    EXPECT_EQ(send(fd, "ask", 3, MSG_NOSIGNAL), 3);
    const timed t = receive_once(fd, w);
    EXPECT_EQ(t.result, 0) << strerrorname_np(t.error);
    EXPECT_TRUE(on_time(monotonic_ms() - start, 80 - 1));
    EXPECT_GE(s.count(id).fired, 1u);
    s.clear();
  }
}

// A wait for nothing but room to send, in a connection whose peer does not read.
TEST_F(Gate, AResetPeerEndsAWaitForRoom) {
  for (const way w : all_ways) {
    if (w == way::blocking) continue;
    SCOPED_TRACE(name_of(w));
    tcp_pair p;
    set_nonblocking(p.near);
    const std::string block(1 << 20, 'x');
    const auto id = s.set("reset_peer " + p.target() + " 60ms");
    waiter room(p.near, w, EPOLLOUT);
    const double start = monotonic_ms();
    ssize_t n;
    for (;;) {
      while ((n = send(p.near, block.data(), block.size(), MSG_NOSIGNAL)) > 0) {}
      if (errno != EAGAIN || monotonic_ms() > start + 3000) break;
      room.again();
      if (!room.ready(3000)) break;
    }
    EXPECT_EQ(n, -1);
    EXPECT_EQ(errno, ECONNRESET);
    EXPECT_TRUE(on_time(monotonic_ms() - start, 60));
    EXPECT_EQ(s.count(id).fired, 1u);
    s.clear();
  }
}

TEST_F(Gate, SeveralThatWaitForOneConnectionEndItOnce) {
  for (int round = 0; round < 40; ++round) {
    tcp_pair p;
    set_nonblocking(p.near);
    const auto id = s.set((round % 2 ? "timeout " : "reset_peer ") + p.target() + " 10ms");
    std::atomic<int> told{0};
    std::vector<std::thread> all;
    for (int i = 0; i < 4; ++i)
      all.emplace_back([&, i] {
        waiter w(p.near, i % 2 ? way::poll : way::epoll_level);
        told += w.ready(3000);
      });
    for (auto& t : all) t.join();
    EXPECT_EQ(told, 4);
    EXPECT_EQ(s.count(id).fired, 1u) << "round " << round;
    s.clear();
  }
}

// Erlang: one thread waits on the set, and others put connections into it that they have made, or send on.
TEST_F(Gate, AWaitLearnsOfAnEndThatAnotherThreadBegan) {
  for (const char* const kind : {"reset_peer", "timeout"}) {
    SCOPED_TRACE(kind);
    listener l;
    const auto id = s.set(std::string(kind) + " 127.0.0.1:" + std::to_string(l.port) + " 60ms");
    const unique_fd set = epoll_create1(EPOLL_CLOEXEC);
    std::atomic<double> told{0};
    std::atomic<int> begun{0};
    std::thread waits([&] {
      epoll_event e;
      begun = thread_id();
      if (epoll_wait(set, &e, 1, 3000) == 1) told = monotonic_ms();
    });
    EXPECT_TRUE(wait_until([&] { return begun && sleeps(begun); }));
    const unique_fd near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in at = loopback(l.port);
    ASSERT_EQ(connect(near, generic(at), sizeof at), 0);
    set_nonblocking(near);
    EXPECT_EQ(send(near, "ask", 3, MSG_NOSIGNAL), 3);
    const double start = monotonic_ms();
    epoll_event e{};
    e.events = EPOLLIN;
    ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, near, &e), 0);
    waits.join();
    EXPECT_TRUE(on_time(told - start, 60 - 2));
    EXPECT_EQ(s.count(id).fired, 1u);
    s.clear();
  }
}

TEST_F(Gate, AWaitLearnsThatWhatAnotherThreadMetHasHealed) {
  tcp_pair p;
  set_nonblocking(p.near);
  const auto id = s.set("partition " + p.target());
  const unique_fd set = epoll_create1(EPOLL_CLOEXEC);
  std::atomic<bool> told{false};
  std::atomic<int> begun{0};
  std::thread waits([&] {
    epoll_event e;
    begun = thread_id();
    told = epoll_wait(set, &e, 1, 3000) == 1;
  });
  EXPECT_TRUE(wait_until([&] { return begun && sleeps(begun); }));
  EXPECT_EQ(send(p.near, "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EAGAIN);
  epoll_event e{};
  e.events = EPOLLOUT | EPOLLET;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, p.near, &e), 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(told);
  s.remove(id);
  EXPECT_TRUE(wait_until([&] { return told.load(); }, std::chrono::seconds(1)));
  waits.join();
  EXPECT_EQ(s.count(id).fired, 1u);
}

// The time-out of a wait is that of the whole of it, whatever rules go meanwhile.
TEST_F(Gate, AWaitWhoseRulesGoEndsInItsTime) {
  tcp_pair p;
  set_nonblocking(p.near);
  const auto id = s.set("latency " + p.target() + " 5s");
  put(p.far, "x");
  const unique_fd set = epoll_create1(EPOLL_CLOEXEC);
  tcp_pair quiet;
  epoll_event e{};
  e.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, quiet.near, &e), 0);
  const auto watched = s.set("latency " + quiet.target() + " 5s");
  std::thread remover([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    s.remove(id);
    s.remove(watched);
  });
  const timed t = time_of([&] { return epoll_wait(set, &e, 1, 150); });
  remover.join();
  EXPECT_EQ(t.result, 0);
  EXPECT_TRUE(on_time(t.ms, 150));
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
