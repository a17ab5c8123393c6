// Promise 2 for those who are held: whatever fault a thread waits in, in whatever way it waits, it goes on within 10 ms of
// the removal, and what was held is delivered whole.
#include "channels.hpp"
#include "sinks.hpp"
#include "ways.hpp"

#include <netdb.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <set>

#include "chaos/abi/effects.hpp"

namespace chaos::gate {
namespace {

enum class held_in { arrival, owed, sending, connecting, accepting, closing, reading_file, resolving };

struct row {
  const char* kind;
  const char* rule;  // {}: the target
  held_in place;
  std::set<over> transports = {over::tcp};
  std::set<way> ways = {std::begin(all_ways), std::end(all_ways)};
};

const std::set<over> streams = {over::tcp, over::unix_stream}, everywhere = {std::begin(all_transports), std::end(all_transports)};
const std::set<way> in_the_call = {way::blocking}, in_loops = {std::next(std::begin(all_ways)), std::end(all_ways)};

const row rows[] = {
    {"latency", "latency {} 5s", held_in::arrival, everywhere},
    {"latency", "latency {} 5s --on connect", held_in::connecting},
    {"latency", "latency {} 5s --on accept", held_in::accepting},
    {"latency", "latency {} 5s --direction up", held_in::sending, everywhere, in_the_call},
    {"latency", "latency {} 5s --direction up", held_in::owed, everywhere, in_loops},
    {"latency", "latency {} 5s", held_in::reading_file, {over::tcp}, in_the_call},
    {"latency", "latency {} 5s", held_in::resolving, {over::tcp}, in_the_call},
    {"loss", "loss {} 100%", held_in::arrival, streams},
    {"loss", "loss {} 100%", held_in::connecting},
    {"slicer", "slicer {} --average-size 2B --delay 5s", held_in::arrival, streams},
    {"slicer", "slicer {} --average-size 2KB --delay 5s --direction up", held_in::sending, streams},
    {"bandwidth", "bandwidth {} 1B/s", held_in::arrival, everywhere},
    {"bandwidth", "bandwidth {} 1KB/s --direction up", held_in::sending, streams},
    {"timeout", "timeout {}", held_in::arrival, streams},
    {"timeout", "timeout {}", held_in::sending, streams},
    {"down", "down {} --how blackhole", held_in::arrival, streams},
    {"down", "down {} --how blackhole", held_in::sending, streams},
    {"down", "down {} --how blackhole", held_in::connecting},
    {"partition", "partition {}", held_in::arrival, streams},
    {"partition", "partition {}", held_in::sending, streams},
    {"partition", "partition {}", held_in::connecting},
    {"slow_close", "slow_close {} 5s", held_in::closing, streams, in_the_call},
    {"pause", "pause {} 5s --on recv", held_in::arrival, everywhere},
    {"pause", "pause {} 5s", held_in::reading_file, {over::tcp}, in_the_call},
};
// These answer, break or change; nobody waits in them (reorder: for a moment, 50 ms at most).
const std::set<std::string> hold_nobody = {"error", "corrupt", "reset_peer", "limit_data", "duplicate", "reorder", "full", "io_error", "emfile",
                                           "dns", "unset", "replace", "crash", "http_error", "enomem", "observe"};

struct example {
  const row* line;
  over transport;
  way how;
};
std::vector<example> examples() {
  std::vector<example> all;
  for (const row& r : rows)
    for (const over o : r.transports)
      for (const way w : r.ways) all.push_back({&r, o, w});
  return all;
}

class Removal : public Gate, public testing::WithParamInterface<example> {
 protected:
  const row& line = *GetParam().line;
  const way how = GetParam().how;
  std::uint32_t id = 0;

  void fault(const std::string& target) {
    std::string rule = line.rule;
    id = s.set(rule.replace(rule.find("{}"), 2, target));
  }
  // Ends the rule while `held` waits in it; ms from then until held() is back.
  template <class Held>
  double released_after(Held held) {
    std::atomic<double> removed{0};
    std::thread remover([&] {
      EXPECT_TRUE(wait_until([&] { return s.count(id).matched > 0; })) << "the rule was never met";
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      removed = monotonic_ms();
      s.remove(id);
    });
    held();
    const double now = monotonic_ms();
    remover.join();
    EXPECT_GE(now, removed) << "it was not held";
    EXPECT_GE(s.count(id).fired, 1u);
    return now - removed;
  }

  double arrival() {
    channel c(GetParam().transport);
    fault(c.target);
    c.tell("hello");
    std::string got;
    const double ms = released_after([&] { got = read_by(c.near, how, 5, !is_stream(c.transport)); });
    EXPECT_EQ(got, "hello");
    return ms;
  }
  double owed() {  // a sender that must not sleep: its delay is on what comes next
    channel c(GetParam().transport);
    set_nonblocking(c.near);
    fault(c.target);
    put(c.near, "ask");
    EXPECT_EQ(c.hear(3), "ask");
    c.tell("hello");
    std::string got;
    const double ms = released_after([&] { got = read_by(c.near, how, 5, !is_stream(c.transport)); });
    EXPECT_EQ(got, "hello");
    put(c.near, "more");
    return ms;
  }
  double sending() {
    channel c(GetParam().transport);
    fault(c.target);
    const std::string text(is_stream(c.transport) ? 20'000 : 1'000, 'x');
    const double ms = released_after([&] { EXPECT_TRUE(write_by(c.near, how, text)); });
    EXPECT_EQ(c.hear(text.size()), text);
    return ms;
  }
  double connecting() {
    const sinks made(s);
    const listener service;
    fault(service.target());
    const unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (how == way::blocking ? 0 : SOCK_NONBLOCK), 0);
    const sockaddr_in to = loopback(service.port);
    const double ms = released_after([&] {
      const int r = connect(fd, generic(to), sizeof to);
      if (how == way::blocking) { EXPECT_EQ(r, 0) << strerrorname_np(errno); return; }
      EXPECT_TRUE(r == -1 && errno == EINPROGRESS) << r << " " << strerrorname_np(errno);
      waiter w(fd, how, EPOLLOUT);
      EXPECT_TRUE(w.ready());
      int e = 0;
      socklen_t n = sizeof e;
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
      EXPECT_EQ(e, 0);
    });
    const unique_fd peer = accept(service.fd, nullptr, nullptr);
    put(fd, "hello");
    EXPECT_EQ(read_by(peer, way::blocking, 5), "hello");
    return ms;
  }
  double accepting() {
    const listener service;
    const unique_fd client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = loopback(service.port);
    EXPECT_EQ(connect(client, generic(to), sizeof to), 0);
    fault("listen:" + std::to_string(service.port));
    unique_fd taken;
    waiter w(service.fd, how);
    const double ms = released_after([&] {
      while (w.ready() && (taken.reset(accept(service.fd, nullptr, nullptr)), taken < 0) && errno == EAGAIN) w.again();
    });
    put(client, "hello");
    EXPECT_EQ(read_by(taken, way::blocking, 5), "hello");
    return ms;
  }
  double closing() {
    channel c(GetParam().transport);
    fault(c.target);
    const double ms = released_after([&] { c.near.reset(); });
    EXPECT_EQ(c.hear(1), "");
    return ms;
  }
  double reading_file() {
    const temporary_folder folder;
    const unique_fd fd = open((folder.path() + "/file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    EXPECT_EQ(write(fd, "hello", 5), 5);
    fault("file:" + folder.path() + "/**");
    char b[6] = {};
    const double ms = released_after([&] { EXPECT_EQ(pread(fd, b, 5, 0), 5); });
    EXPECT_STREQ(b, "hello");
    return ms;
  }
  double resolving() {
    fault("dns:localhost");
    addrinfo* found = nullptr;
    const double ms = released_after([&] { EXPECT_EQ(getaddrinfo("localhost", nullptr, nullptr, &found), 0); });
    EXPECT_NE(found, nullptr);
    freeaddrinfo(found);
    return ms;
  }
};

TEST_P(Removal, LetsGoWithin10MsAndLosesNothing) {
  expect_prompt([&] {
    switch (line.place) {
      case held_in::arrival: return arrival();
      case held_in::owed: return owed();
      case held_in::sending: return sending();
      case held_in::connecting: return connecting();
      case held_in::accepting: return accepting();
      case held_in::closing: return closing();
      case held_in::reading_file: return reading_file();
      case held_in::resolving: return resolving();
    }
    return 0.0;
  });
}
std::string name_of(const testing::TestParamInfo<example>& info) {
  const char* const places[] = {"arrival", "owed", "sending", "connecting", "accepting", "closing", "reading_file", "resolving"};
  const example& e = info.param;
  return std::string(e.line->kind) + "_" + places[static_cast<int>(e.line->place)] + "_" + name_of(e.transport) + "_" + name_of(e.how);
}
INSTANTIATE_TEST_SUITE_P(Of, Removal, testing::ValuesIn(examples()), [](const auto& info) { return name_of(info); });

TEST(EveryKind, HoldsNobodyOrHasARowAbove) {
  std::set<std::string> known = hold_nobody;
  for (const row& r : rows) known.insert(r.kind);
  for (const auto& e : abi::effect_table) EXPECT_TRUE(known.contains(e.name)) << e.name;
}

// The bank that a waiting call was judged by is written anew meanwhile, and another rule stands where its own was.
TEST_F(Gate, WhatWaitedIsCountedForItsOwnRuleWhateverOthersComeAndGo) {
  tcp_pair p;
  const auto first = s.set("observe 203.0.113.1:9");
  const auto slow = s.set("latency " + p.target() + " 100ms --direction up");
  std::uint32_t other = 0;
  std::thread changing([&] {
    EXPECT_TRUE(wait_until([&] { return s.count(slow).matched > 0; }));
    s.remove(first);
    other = s.set("observe 203.0.113.2:9");
  });
  const timed t = time_of([&] { return send(p.near, "x", 1, 0); });
  changing.join();
  EXPECT_EQ(t.result, 1);
  EXPECT_TRUE(on_time(t.ms, 100));
  EXPECT_EQ(s.count(slow).fired, 1u);
  EXPECT_EQ(s.count(slow).delayed_ns, 100'000'000u);
  EXPECT_EQ(s.count(other).fired, 0u);
  ASSERT_EQ(s.events(slow).size(), 1u);
  EXPECT_EQ(s.events(slow)[0].effect, static_cast<std::uint8_t>(abi::effect::latency));
}

// The same for a call that its one rule had said no to before it began to wait.
TEST_F(Gate, AReadThatWaitedUnderARuleThatIsGoneIsNotCountedForTheNext) {
  tcp_pair p;
  char c = 0;
  const auto first = s.set("error " + p.target() + " ECONNRESET --on recv --probability 0");
  for (std::uint64_t i = 1; i <= 4; ++i) {  // from the third on it is settled in front of the common road
    ASSERT_EQ(send(p.far, "x", 1, 0), 1);
    ASSERT_EQ(recv(p.near, &c, 1, 0), 1);
    EXPECT_EQ(s.count(first).matched, i);
  }
  const int reader = thread_id();
  std::uint32_t next = 0;
  std::thread changing([&] {
    EXPECT_TRUE(wait_until([&] { return sleeps_in(reader, SYS_recvfrom); }));
    s.remove(first);
    for (next = s.set("observe 203.0.113.1:9"); next % abi::rule_max != first % abi::rule_max; next = s.set("observe 203.0.113.1:9")) s.remove(next);
    EXPECT_EQ(send(p.far, "x", 1, 0), 1);
  });
  EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
  changing.join();
  EXPECT_EQ(s.count(next).matched, 0u) << "it has the counters that the other had";
}

// The same for one that the common road made, and that has found nothing in the end: it is as if it had not been asked. The counters are
// another rule's by then, which would have matched less than never.
TEST_F(Gate, AReadThatFindsNothingUnderARuleThatIsGoneTakesNothingFromTheNext) {
  tcp_pair p;
  const timeval patience{0, 300'000};
  setsockopt(p.near, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const auto first = s.set("corrupt " + p.target() + " --bits 1");
  const int reader = thread_id();
  std::uint32_t next = 0;
  std::thread changing([&] {
    EXPECT_TRUE(wait_until([&] { return sleeps_in(reader, SYS_recvfrom); }));
    EXPECT_EQ(s.count(first).matched, 1u);
    s.remove(first);
    for (next = s.set("observe 203.0.113.1:9"); next % abi::rule_max != first % abi::rule_max; next = s.set("observe 203.0.113.1:9")) s.remove(next);
  });
  char c = 0;
  EXPECT_EQ(recv(p.near, &c, 1, 0), -1);
  EXPECT_EQ(errno, EAGAIN);
  changing.join();
  EXPECT_EQ(s.count(next).matched, 0u);
  EXPECT_EQ(s.count(next).fired, 0u);
}

// Cancelled in the call behind it, a pause was one all the same; what the call itself would have met came to nothing.
TEST_F(Gate, APauseBeforeACallInWhichTheThreadIsCancelledIsCounted) {
  tcp_pair p;
  const auto pause = s.set("pause " + p.target() + " 30ms --on recv"), corrupt = s.set("corrupt " + p.target() + " --bits 1 --on recv");
  struct reading { int fd; std::atomic<int> id{0}; } all{p.near};
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, nullptr, [](void* at) -> void* {
    auto& a = *static_cast<reading*>(at);
    a.id = thread_id();
    char c;
    recv(a.fd, &c, 1, 0);
    return nullptr;
  }, &all), 0);
  EXPECT_TRUE(wait_until([&] { return all.id && sleeps_in(all.id, SYS_recvfrom); }));
  pthread_cancel(thread);
  void* outcome = nullptr;
  ASSERT_EQ(pthread_join(thread, &outcome), 0);
  EXPECT_EQ(outcome, PTHREAD_CANCELED);
  EXPECT_EQ(s.count(pause).fired, 1u);
  EXPECT_EQ(s.count(pause).delayed_ns, 30'000'000u);
  EXPECT_EQ(s.events(pause).size(), 1u);
  EXPECT_EQ(s.count(corrupt).matched, 1u);
  EXPECT_EQ(s.count(corrupt).fired, 0u);
}

}  // namespace
}  // namespace chaos::gate
