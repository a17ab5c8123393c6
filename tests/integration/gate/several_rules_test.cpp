// Several rules that match one call: in the order of their ids, delays add, corruptions compose, the first error or close
// ends the list, and each that took effect is counted.
#include "channels.hpp"
#include "ways.hpp"

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
  std::atomic<bool> asked{false};
  std::string got;
  std::thread reader([&] {
    asked = true;
    got = read_by(p.near, way::blocking, 4);
  });
  EXPECT_TRUE(wait_until([&] { return asked.load(); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // it waits in the kernel
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
