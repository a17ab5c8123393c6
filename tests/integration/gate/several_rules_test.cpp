// Several rules that match one call: in the order of their ids, delays add, corruptions compose, the first error or close
// ends the list, and each that took effect is counted.
#include "channels.hpp"
#include "ways.hpp"

#include <sys/wait.h>

namespace chaos::gate {
namespace {

class Several : public Gate, public testing::WithParamInterface<way> {
 protected:
  std::vector<std::uint32_t> ids;
  void fault(const std::vector<std::string>& rules) { s.set_all(rules, ids); }
  std::vector<std::uint64_t> fired() const {
    std::vector<std::uint64_t> all;
    for (const auto id : ids) all.push_back(s.count(id).fired);
    return all;
  }
};
INSTANTIATE_TEST_SUITE_P(By, Several, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

TEST_P(Several, DelaysAdd) {
  for (const over o : all_transports) {
    channel c(o);
    fault({"latency " + c.target + " 20ms", "observe " + c.target + " --direction down", "latency " + c.target + " 30ms"});
    const double start = monotonic_ms();
    c.tell("hello");
    EXPECT_EQ(read_by(c.near, GetParam(), 5, !is_stream(o)), "hello");
    EXPECT_TRUE(on_time(monotonic_ms() - start, 50)) << name_of(o);
    EXPECT_EQ(fired(), (std::vector<std::uint64_t>{1, 1, 1})) << name_of(o);
    EXPECT_EQ(s.count(ids[0]).delayed_ns, 20'000'000u);
    EXPECT_EQ(s.count(ids[2]).delayed_ns, 30'000'000u);
    s.clear();
    ids.clear();
  }
}

// What is held is held by the rule that delays it. Another one that matched, and goes, lets nothing go.
TEST_P(Several, WhoHoldsNobodyLetsNobodyGo) {
  for (const over o : all_transports)
    for (const char* const other : {"latency {} 900ms --dry-run", "duplicate {} 100%"}) {
      if (is_stream(o) && std::string(other).starts_with("duplicate")) continue;
      SCOPED_TRACE(name_of(o) + ", " + other);
      channel c(o);
      std::string words = other;
      words.replace(words.find("{}"), 2, c.target);
      std::vector<std::string> rules = {"latency " + c.target + " 120ms", words};
      if (!is_stream(o)) std::swap(rules[0], rules[1]);
      fault(rules);
      const std::size_t mine = is_stream(o) ? 0 : 1;
      const double start = monotonic_ms();
      c.tell("hello");
      std::thread remover([&] {
        EXPECT_TRUE(wait_until([&] { return s.count(ids[mine]).fired == 1; }));
        s.remove(ids[1 - mine]);
      });
      EXPECT_EQ(read_by(c.near, GetParam(), 5, !is_stream(o)), "hello");
      EXPECT_TRUE(on_time(monotonic_ms() - start, 120));
      remover.join();
      s.clear();
      ids.clear();
    }
}

TEST_P(Several, TheFirstErrorEndsTheList) {
  tcp_pair p;
  if (GetParam() != way::blocking) set_nonblocking(p.near);
  const std::string at = p.target() + " ";
  fault({"pause " + at + "10ms --on send", "error " + at + "EPIPE --on send", "error " + at + "ECONNRESET --on send", "pause " + at + "500ms --on send", "crash " + at + "--on send"});
  const timed t = time_of([&] { return send(p.near, "x", 1, MSG_NOSIGNAL); });
  EXPECT_EQ(t.result, -1);
  EXPECT_EQ(t.error, EPIPE);
  EXPECT_TRUE(on_time(t.ms, 10));
  EXPECT_EQ(fired(), (std::vector<std::uint64_t>{1, 1, 0, 0, 0}));
}

TEST_P(Several, CorruptionsCompose) {
  tcp_pair p;
  fault({"corrupt " + p.target() + " --bits 1 --seed 1", "corrupt " + p.target() + " --bits 1 --seed 2", "latency " + p.target() + " 10ms", "slicer " + p.target() + " --average-size 600B"});
  const double start = monotonic_ms();
  put(p.far, std::string(500, 'x'));
  const std::string got = read_by(p.near, GetParam(), 500);
  ASSERT_EQ(got.size(), 500u);
  int flipped = 0;
  for (const char c : got) flipped += __builtin_popcount(static_cast<unsigned char>(c ^ 'x'));
  EXPECT_EQ(flipped, 2) << "by these seeds not the same bit";
  EXPECT_TRUE(on_time(monotonic_ms() - start, 10));
  EXPECT_EQ(fired(), (std::vector<std::uint64_t>{1, 1, 1, 0}));
}

// Rules come and go while a call waits, and the page that they stand in is written anew. What the call met stays what it was.
class Meanwhile : public Gate {
 protected:
  std::vector<std::uint32_t> ids;
  // Two that mean nobody stand before it: when they go all others move.
  void fault(const std::vector<std::string>& rules) {
    std::vector<std::string> all = {"latency 127.0.0.8 1s", "latency 127.0.0.9 1s"};
    all.insert(all.end(), rules.begin(), rules.end());
    s.set_all(all, ids);
  }
  std::uint32_t id(int n) const { return ids[2 + n]; }
  void others_go() {
    s.remove(ids[0]);
    s.remove(ids[1]);
  }
};

TEST_F(Meanwhile, ACrashBehindAPauseIsTheOneThatWasMet) {
  tcp_pair p;
  fault({"pause " + p.target() + " 200ms --on send", "crash " + p.target() + " --exit 7 --on send"});
  const pid_t child = fork();
  if (child == 0) {
    send(p.near, "x", 1, MSG_NOSIGNAL);
    _exit(1);
  }
  EXPECT_TRUE(wait_until([&] { return s.count(id(1)).matched == 1; }));
  others_go();
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
  EXPECT_EQ(s.count(id(1)).fired, 1u);
}

TEST_F(Meanwhile, ABlockedReceiveIsCorruptedAsItWasDecided) {
  tcp_pair p;
  fault({"corrupt " + p.target() + " --bits 3", "limit_data " + p.target() + " 6B"});
  std::string got;
  std::thread reader([&] { got = read_by(p.near, way::blocking, 5); });
  EXPECT_TRUE(wait_until([&] { return s.count(id(0)).matched == 1; }));
  others_go();
  put(p.far, "hello");
  reader.join();
  ASSERT_EQ(got.size(), 5u);
  int flipped = 0;
  for (int i = 0; i < 5; ++i) flipped += __builtin_popcount(static_cast<unsigned char>(got[i] ^ "hello"[i]));
  EXPECT_GE(flipped, 1);
  EXPECT_EQ(s.count(id(0)).fired, 1u);
  const auto last = s.events(id(0));
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0].effect, static_cast<std::uint8_t>(abi::effect::corrupt));
}

TEST_F(Meanwhile, AnErrorBehindADelayIsNotLost) {
  tcp_pair p;
  put(p.far, "x");
  fault({"latency " + p.target() + " 150ms", "error " + p.target() + " ECONNRESET --on recv --times 1", "error " + p.target() + " ETIMEDOUT --on read"});
  char c;
  std::thread changes([&] {
    EXPECT_TRUE(wait_until([&] { return s.count(id(0)).fired == 1; }));
    others_go();
  });
  EXPECT_EQ(recv(p.near, &c, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  changes.join();
  EXPECT_EQ(s.count(id(1)).fired, 1u);
  EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
}

TEST_F(Meanwhile, ARuleThatGoesOrComesDuringTheWaitDoesNotAct) {
  tcp_pair p;
  put(p.far, "x");
  fault({"latency " + p.target() + " 150ms", "error " + p.target() + " ECONNRESET --on recv"});
  char c;
  std::uint32_t later = 0;
  std::thread changes([&] {
    EXPECT_TRUE(wait_until([&] { return s.count(id(0)).fired == 1; }));
    s.remove(id(1));
    later = s.set("error " + p.target() + " ETIMEDOUT --on recv");
  });
  EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
  changes.join();
  EXPECT_EQ(s.count(id(1)).fired, 0u);
  EXPECT_EQ(s.count(later).fired, 0u);
  put(p.far, "y");
  EXPECT_EQ(recv(p.near, &c, 1, 0), -1);
  EXPECT_EQ(errno, ETIMEDOUT);
}

TEST_F(Meanwhile, ADelayBeginsBehindAPause) {
  listener l;
  tcp_pair p;
  const sockaddr_in at = loopback(l.port);
  const unique_fd caller = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  s.set_all({"pause 127.0.0.0/8 40ms --on connect,send", "latency 127.0.0.0/8 50ms --on connect,send"}, ids);
  EXPECT_TRUE(on_time(time_of([&] { return connect(caller, generic(at), sizeof at); }).ms, 90));
  EXPECT_TRUE(on_time(time_of([&] { return send(p.near, "x", 1, MSG_NOSIGNAL); }).ms, 90));
  EXPECT_EQ(s.count(ids[0]).delayed_ns, 80'000'000u);
  EXPECT_EQ(s.count(ids[1]).delayed_ns, 100'000'000u);
}

// What is let go early was held for as long as it was, and by the rule that held it.
TEST_F(Meanwhile, WhatARemovedRuleHeldIsCountedAsLongAsItWas) {
  listener l;
  tcp_pair p;
  const sockaddr_in at = loopback(l.port);
  const std::string there = "127.0.0.1:" + std::to_string(l.port);
  struct held { std::string rule; std::function<long()> call; };
  const unique_fd caller = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const std::string block(100'000, 'x');
  const held all[] = {
      {"latency " + there + " 5s --on connect", [&] { return connect(caller, generic(at), sizeof at); }},
      {"pause " + p.target() + " 5s --on send", [&] { return send(p.near, "x", 1, MSG_NOSIGNAL); }},
      {"latency " + p.target() + " 5s --direction up", [&] { return send(p.near, "x", 1, MSG_NOSIGNAL); }},
      {"bandwidth " + p.target() + " 10KB/s --direction up", [&] { return send(p.near, block.data(), block.size(), MSG_NOSIGNAL); }},
  };
  for (const held& h : all) {
    SCOPED_TRACE(h.rule);
    std::vector<std::uint32_t> both;
    s.set_all({"observe 127.0.0.0/8", h.rule}, both);
    std::thread remover([&] {
      EXPECT_TRUE(wait_until([&] { return s.count(both[1]).matched == 1; }));
      s.remove(both[0]);  // that one holds nobody
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      s.remove(both[1]);
    });
    const timed t = time_of(h.call);
    remover.join();
    EXPECT_GE(t.result, 0) << strerrorname_np(t.error);
    EXPECT_TRUE(on_time(t.ms, 100 - 5));
    EXPECT_EQ(s.count(both[1]).fired, 1u);
    EXPECT_LE(s.count(both[1]).delayed_ns, static_cast<std::uint64_t>(t.ms * 1e6));
    EXPECT_GE(s.count(both[1]).delayed_ns, 90'000'000u);
    s.clear();
  }
}

// Which rules match a connection is known by their places. Who waits since before they changed must not go by those.
class MeanwhileIn : public Meanwhile, public testing::WithParamInterface<way> {};
INSTANTIATE_TEST_SUITE_P(By, MeanwhileIn, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

// What a rule held when it went is read while none is in force. What comes under the next one is not mistaken for it.
TEST_P(MeanwhileIn, WhatWasReadBetweenTwoRulesIsNotWhatComesUnderTheSecond) {
  for (const over o : all_transports) {
    SCOPED_TRACE(name_of(o));
    channel c(o);
    const auto first = delay(c.target, 5000);
    c.tell("before");
    pollfd p{c.near, POLLIN, 0};
    EXPECT_EQ(poll(&p, 1, 5), 0);
    EXPECT_EQ(s.count(first).fired, 1u);
    s.clear();
    EXPECT_EQ(read_by(c.near, GetParam(), 6, !is_stream(o)), "before");
    const auto second = delay(c.target, 25);
    const double start = monotonic_ms();
    c.tell("behind");
    EXPECT_EQ(read_by(c.near, GetParam(), 6, !is_stream(o)), "behind");
    EXPECT_TRUE(on_time(monotonic_ms() - start, 25));
    EXPECT_EQ(s.count(second).fired, 1u);
    s.clear();
  }
}

TEST_P(MeanwhileIn, AWaitGoesByTheRulesOfNow) {
  tcp_pair p, other;
  const auto mine = s.set("latency " + p.target() + " 20ms");
  put(p.far, "a");
  EXPECT_EQ(read_by(p.near, GetParam(), 1), "a");
  std::atomic<double> done{0};
  std::atomic<int> id{0};
  std::thread reader([&] {
    id = thread_id();
    EXPECT_EQ(read_by(p.near, GetParam(), 1), "b");
    done = monotonic_ms();
  });
  EXPECT_TRUE(wait_until([&] { return id && sleeps(id); }));
  s.remove(mine);
  const auto theirs = s.set("latency " + other.target() + " 2s");
  const double start = monotonic_ms();
  put(p.far, "b");
  reader.join();
  EXPECT_LT(done - start, 1000);
  EXPECT_EQ(s.count(theirs).matched, 0u);
  EXPECT_EQ(s.count(theirs).fired, 0u);
}

// Their counts hang on the connection, and each makes its own at that moment: none may be made twice, or lost.
TEST_F(Gate, ThreadsThatFirstAskDifferentRulesOfOneConnectionAtOnce) {
  constexpr int calls = 3;
  const std::pair<const char*, ssize_t (*)(int)> ways[] = {
      {"send", [](int fd) { return send(fd, "x", 1, MSG_NOSIGNAL); }},
      {"write", [](int fd) { return write(fd, "x", 1); }},
      {"recv", [](int fd) { char c; return recv(fd, &c, 1, 0); }},
      {"read", [](int fd) { char c; return read(fd, &c, 1); }},
  };
  constexpr int threads_max = std::size(ways);
  for (int round = 0; round < 200 && !HasFailure(); ++round) {
    tcp_pair p;
    put(p.far, std::string(2 * calls, 'x'));
    std::vector<std::string> rules;
    std::vector<std::uint32_t> ids;
    for (const auto& [name, call] : ways) rules.push_back("error " + p.target() + " ECONNRESET --times 1 --on " + name);
    s.set_all(rules, ids);
    std::atomic<int> ready{0}, failed[threads_max] = {};
    std::vector<std::thread> threads;
    for (int t = 0; t < threads_max; ++t)
      threads.emplace_back([&, t] {
        ++ready;
        while (ready < threads_max) {}
        for (int i = 0; i < calls; ++i) failed[t] += ways[t].second(p.near) < 0;
      });
    for (auto& t : threads) t.join();
    for (int t = 0; t < threads_max; ++t) {
      EXPECT_EQ(failed[t], 1) << ways[t].first << " in round " << round;
      EXPECT_EQ(s.count(ids[t]).fired, 1u) << ways[t].first;
      EXPECT_EQ(s.count(ids[t]).matched, static_cast<std::uint64_t>(calls)) << ways[t].first;
    }
    s.clear();
  }
}

TEST_F(Gate, ARuleActsFromTheNextCallEntered) {
  tcp_pair p;
  std::atomic<int> asks{0};
  std::string got;
  std::thread reader([&] {
    asks = thread_id();
    got = read_by(p.near, way::blocking, 4);
  });
  EXPECT_TRUE(wait_until([&] { return asks && sleeps_in(asks, SYS_recvfrom); }));
  const auto id = s.set("error " + p.target() + " EIO --force --on recv");
  put(p.far, "told");
  reader.join();
  EXPECT_EQ(got, "told") << "that call was under way";
  char c;
  put(p.far, "x");
  EXPECT_EQ(recv(p.near, &c, 1, 0), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(s.count(id).fired, 1u);
}

}  // namespace
}  // namespace chaos::gate
