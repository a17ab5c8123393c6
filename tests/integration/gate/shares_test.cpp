// Several rules that hold one thing: whichever of them goes, in whatever order they were set, takes its own share of the hold along,
// and what is left of the other's is served. And what each is said to have held is what was held.
#include "channels.hpp"
#include "sinks.hpp"
#include "ways.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <unistd.h>

namespace chaos::gate {
namespace {

constexpr double long_ms = 300, short_ms = 40, between_ms = 280;  // what took longer was held by the long one

struct example {
  bool long_goes, long_is_first;
};
std::string name_of(const example& e) {
  return std::string(e.long_goes ? "TheLongOneGoes" : "TheShortOneGoes") + (e.long_is_first ? "_SetFirst" : "_SetLast");
}

class Shares : public Gate, public testing::WithParamInterface<example> {
 protected:
  std::uint32_t long_rule = 0, short_rule = 0;

  // Beside a third one, that matches nothing: there are rules in force all the time.
  void fault(std::string longer, std::string shorter) {
    std::vector<std::string> rules = {std::move(longer), std::move(shorter)};
    const bool long_first = GetParam().long_is_first;
    if (!long_first) std::swap(rules[0], rules[1]);
    rules.push_back("observe 203.0.113.1:9");
    std::vector<std::uint32_t> ids;
    s.set_all(rules, ids);
    long_rule = ids[long_first ? 0 : 1];
    short_rule = ids[long_first ? 1 : 0];
  }
  void latencies(const std::string& target, const std::string& options = "") {
    fault("latency " + target + " 300ms" + options, "latency " + target + " 40ms" + options);
  }
  // Removes one of the two as soon as both have met what held() waits for.
  template <class Held>
  double took(Held held) {
    std::thread remover([&] {
      EXPECT_TRUE(wait_until([&] { return s.count(long_rule).matched && s.count(short_rule).matched; })) << "the rules were not met";
      s.remove(GetParam().long_goes ? long_rule : short_rule);
    });
    const double start = monotonic_ms();
    held();
    const double ms = monotonic_ms() - start;
    remover.join();
    EXPECT_EQ(s.count(long_rule).fired, 1u);
    EXPECT_EQ(s.count(short_rule).fired, 1u);
    return ms;
  }
  static testing::AssertionResult as_left(double ms) {
    const bool good = GetParam().long_goes ? ms >= short_ms - early_ms && ms < between_ms : ms >= long_ms - early_ms;
    if (GetParam().long_goes && ms >= between_ms) return testing::AssertionFailure() << ms << " ms is later than " << between_ms;
    return (good ? testing::AssertionSuccess() : testing::AssertionFailure()) << "it took " << ms << " ms";
  }
  // Of a call that waits: told when it is over.
  testing::AssertionResult counted(double ms) const {
    const double told = static_cast<double>(s.count(long_rule).delayed_ns + s.count(short_rule).delayed_ns) * 1e-6;
    const double rest = static_cast<double>(s.count(GetParam().long_goes ? short_rule : long_rule).delayed_ns) * 1e-6;
    const double left = GetParam().long_goes ? short_ms : long_ms;
    const bool good = told <= ms + early_ms && told >= left - early_ms && rest > left - early_ms && rest < left + early_ms;
    return (good ? testing::AssertionSuccess() : testing::AssertionFailure()) << told << " ms are told of " << ms << ", " << rest << " of them by who stayed";
  }
  void done() { s.clear(); }
};
INSTANTIATE_TEST_SUITE_P(When, Shares, testing::Values(example{true, true}, example{true, false}, example{false, true}, example{false, false}),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(Shares, OfWhatArrives) {
  for (const over o : all_transports)
    for (const way how : {way::blocking, way::epoll_edge}) {
      SCOPED_TRACE(name_of(o) + ", " + name_of(how));
      channel c(o);
      latencies(c.target);
      std::string got;
      EXPECT_TRUE(as_left(took([&] { c.tell("hello"); got = read_by(c.near, how, 5, !is_stream(o)); })));
      EXPECT_EQ(got, "hello");
      done();
    }
}

TEST_P(Shares, OfTheEnd) {
  for (const bool bytes : {false, true}) {
    SCOPED_TRACE(bytes);
    tcp_pair p;
    latencies(p.target());
    if (bytes) put(p.far, "x");
    shutdown(p.far, SHUT_WR);
    std::string got;
    EXPECT_TRUE(as_left(took([&] { got = read_by(p.near, way::epoll_level, 5); })));
    EXPECT_EQ(got, bytes ? "x" : "");
    done();
  }
}

// Upstream of one that must not sleep, and what arrives is late itself.
TEST_P(Shares, OfWhatASenderOwes) {
  for (const char* const direction : {"up", "down"})
    for (const over o : {over::tcp, over::udp, over::unix_stream}) {
      SCOPED_TRACE(name_of(o) + direction);
      channel c(o);
      set_nonblocking(c.near);
      fault("latency " + c.target + " 300ms --direction up", "latency " + c.target + " 40ms --direction " + direction);
      put(c.near, "ask");
      EXPECT_EQ(c.hear(3), "ask");
      c.tell("hello");
      std::string got;
      EXPECT_TRUE(as_left(took([&] { got = read_by(c.near, way::epoll_level, 5, !is_stream(o)); })));
      EXPECT_EQ(got, "hello");
      done();
    }
}

TEST_P(Shares, OfASend) {
  for (const over o : {over::tcp, over::udp, over::unix_seqpacket}) {
    SCOPED_TRACE(name_of(o));
    channel c(o);
    latencies(c.target, " --direction up");
    const double ms = took([&] { EXPECT_EQ(send(c.near, "hello", 5, 0), 5); });
    EXPECT_TRUE(as_left(ms));
    EXPECT_TRUE(counted(ms));
    EXPECT_EQ(c.hear(5), "hello");
    done();
  }
}

TEST_P(Shares, OfAConnect) {
  for (const way how : {way::blocking, way::select, way::epoll_level, way::epoll_oneshot}) {
    SCOPED_TRACE(name_of(how));
    const listener service;
    latencies(service.target(), " --on connect");
    const unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (how == way::blocking ? 0 : SOCK_NONBLOCK), 0);
    const sockaddr_in to = loopback(service.port);
    const double ms = took([&] {
      const int r = connect(fd, generic(to), sizeof to);
      if (how == way::blocking) { EXPECT_EQ(r, 0); return; }
      EXPECT_TRUE(r == -1 && errno == EINPROGRESS);
      waiter w(fd, how, EPOLLOUT);
      EXPECT_TRUE(w.ready());
    });
    EXPECT_TRUE(as_left(ms));
    if (how == way::blocking) { EXPECT_TRUE(counted(ms)); }
    const unique_fd peer = accept(service.fd, nullptr, nullptr);
    put(fd, "hello");
    EXPECT_EQ(read_by(peer, way::blocking, 5), "hello");
    done();
  }
}

TEST_P(Shares, OfAnAccept) {
  for (const way how : {way::blocking, way::poll, way::epoll_level}) {
    SCOPED_TRACE(name_of(how));
    const listener service;
    const unique_fd client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = loopback(service.port);
    ASSERT_EQ(connect(client, generic(to), sizeof to), 0);
    latencies("listen:" + std::to_string(service.port), " --on accept");
    unique_fd taken;
    waiter w(service.fd, how);
    const double ms = took([&] {
      while (w.ready() && (taken.reset(accept(service.fd, nullptr, nullptr)), taken < 0) && errno == EAGAIN) w.again();
    });
    EXPECT_TRUE(as_left(ms));
    EXPECT_TRUE(counted(ms));
    done();
  }
}

TEST_P(Shares, OfAPause) {
  tcp_pair p;
  fault("pause " + p.target() + " 300ms --on send", "pause " + p.target() + " 40ms --on send");
  const double ms = took([&] { EXPECT_EQ(send(p.near, "x", 1, 0), 1); });
  EXPECT_TRUE(as_left(ms));
  EXPECT_TRUE(counted(ms));
}

TEST_P(Shares, OfACallOnAFile) {
  const temporary_folder folder;
  const unique_fd fd = open((folder.path() + "/file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_EQ(write(fd, "hello", 5), 5);
  latencies("file:" + folder.path() + "/**");
  char b[5];
  const double ms = took([&] { EXPECT_EQ(pread(fd, b, 5, 0), 5); });
  EXPECT_TRUE(as_left(ms));
  EXPECT_TRUE(counted(ms));
}

TEST_P(Shares, OfALookUp) {
  latencies("dns:localhost");
  addrinfo* found = nullptr;
  const double ms = took([&] { EXPECT_EQ(getaddrinfo("localhost", nullptr, nullptr, &found), 0); });
  if (found) freeaddrinfo(found);
  EXPECT_TRUE(as_left(ms));
  EXPECT_TRUE(counted(ms));
}

// The slower of two rates goes, or the faster one.
TEST_P(Shares, OfTwoRates) {
  for (const over o : {over::tcp, over::unix_stream, over::udp}) {
    SCOPED_TRACE(name_of(o));
    channel c(o);
    // Beyond what may have gathered unused (50 ms).
    fault("bandwidth " + c.target + " 3KB/s", "bandwidth " + c.target + " 16KB/s");
    const std::string text(o == over::udp ? 1000 : 900, 'x');
    std::string got;
    const double ms = took([&] { c.tell(text); got = read_by(c.near, way::epoll_level, text.size(), !is_stream(o)); });
    EXPECT_EQ(got, text);
    const double rate = GetParam().long_goes ? 16 : 3, at_least = static_cast<double>(text.size()) / rate - 51;
    EXPECT_GE(ms, at_least);
    if (GetParam().long_goes) { EXPECT_LT(ms, between_ms); }
    done();
  }
}

// A delay and a rate: either goes, and the other one is as it was.
TEST_P(Shares, OfADelayAndARate) {
  for (const over o : {over::tcp, over::udp}) {
    SCOPED_TRACE(name_of(o));
    channel c(o);
    fault("latency " + c.target + " 300ms", "bandwidth " + c.target + " 10KB/s");
    const std::string text(1100, 'x');
    std::string got;
    const double ms = took([&] { c.tell(text); got = read_by(c.near, way::epoll_level, text.size(), !is_stream(o)); });
    EXPECT_EQ(got, text);
    EXPECT_TRUE(as_left(ms));
    done();
  }
}

// A datagram that waits for another one to pass it, and is late as well.
TEST_P(Shares, OfADelayAndAReordering) {
  channel c(over::udp);
  fault("latency " + c.target + " 300ms", "reorder " + c.target + " 100% --gap 1 --when 1");
  std::string got;
  const double ms = took([&] { c.tell("one"); c.tell("two"); got = read_by(c.near, way::epoll_level, 3, true); });
  if (GetParam().long_goes) {
    EXPECT_EQ(got, "two") << "it was still to be passed";
    EXPECT_LT(ms, between_ms);
  } else {
    EXPECT_EQ(got, "one");
    EXPECT_GE(ms, long_ms - early_ms);
  }
}

// Two that have the stream stand still: it goes on when both have gone, whichever goes first.
class StandsStill : public Gate, public testing::WithParamInterface<way> {};
INSTANTIATE_TEST_SUITE_P(By, StandsStill, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

TEST_P(StandsStill, UntilTheLastRuleHasGone) {
  for (const over o : {over::tcp, over::unix_stream})
    for (const char* const kind : {"partition", "timeout", "down --how blackhole"})
      for (const bool sends : {false, true}) {
        if (std::string(kind).starts_with("down") && GetParam() != way::blocking) continue;  // a wait meets the partition, only calls meet `down`
        for (const bool first_goes_first : {true, false}) {
          const std::string words = kind, k = words.substr(0, words.find(' ')), options = words.substr(k.size());
          SCOPED_TRACE(words + ", " + name_of(o) + (sends ? ", sends" : ", reads") + (first_goes_first ? ", first" : ", last"));
          channel c(o);
          std::vector<std::uint32_t> ids;
          s.set_all({k + " " + c.target + options, "partition " + c.target, "observe 203.0.113.1:9"}, ids);
          c.tell("hello");
          std::atomic<bool> done{false};
          std::thread held([&] {
            if (sends) { EXPECT_TRUE(write_by(c.near, GetParam(), "hello")); }
            else { EXPECT_EQ(read_by(c.near, GetParam(), 5), "hello"); }
            done = true;
          });
          EXPECT_TRUE(wait_until([&] { return s.count(ids[0]).fired == 1; }));
          EXPECT_EQ(s.count(ids[1]).fired, 0u);
          s.remove(ids[first_goes_first ? 0 : 1]);
          if (first_goes_first) { EXPECT_TRUE(wait_until([&] { return s.count(ids[1]).fired >= 1; })); }
          EXPECT_FALSE(wait_until([&] { return done.load(); }, std::chrono::milliseconds(20))) << "let go by one of them";
          s.remove(ids[first_goes_first ? 1 : 0]);
          held.join();
          if (sends) { EXPECT_EQ(c.hear(5), "hello"); }
          EXPECT_EQ(s.count(ids[1]).fired, first_goes_first ? 1u : 0u);
          if (GetParam() == way::blocking) { EXPECT_EQ(s.count(ids[1]).matched, 1u); }
          s.clear();
        }
      }
}

}  // namespace
}  // namespace chaos::gate
