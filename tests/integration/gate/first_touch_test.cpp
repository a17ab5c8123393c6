// Many threads that are the first to meet a rule at the same moment count in one state: a limit holds, and nothing is lost.
#include "gate.hpp"

#include <netdb.h>

#include <barrier>
#include <vector>

namespace chaos::gate {
namespace {

constexpr int threads = 8;

// Calls `prepare(round)`, then `call(round, thread)` in all threads at once, then `check(round)`.
template <class Prepare, class Call, class Check>
void rounds(int n, Prepare prepare, Call call, Check check) {
  std::barrier meet(threads + 1);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      for (int round = 0; round < n; ++round) {
        meet.arrive_and_wait();
        call(round, t);
        meet.arrive_and_wait();
      }
    });
  for (int round = 0; round < n; ++round) {
    prepare(round);
    meet.arrive_and_wait();
    meet.arrive_and_wait();
    check(round);
  }
  for (auto& t : all) t.join();
}

using FirstTouch = Gate;

TEST_F(FirstTouch, OfAConnection) {  // each round a new one, at the same descriptor
  constexpr int at = 700, n = 10'000;
  const std::string target = "fd:" + std::to_string(at);
  const auto once = s.set("error " + target + " EIO --force --on send --times 1 --scope connection");
  const auto counted = s.set("observe " + target + " --on send --times 3 --scope connection");
  std::atomic<int> failed{0}, others{0};
  int wrong = 0;
  unique_fd far;
  rounds(n,
    [&](int) {
      int pair[2];
      ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
      ASSERT_EQ(dup2(pair[0], at), at);
      close(pair[0]);
      far = pair[1];
      failed = 0;
    },
    [&](int, int) {
      if (send(at, "x", 1, MSG_NOSIGNAL) == 1) return;
      (errno == EIO ? failed : others).fetch_add(1);
    },
    [&](int) { wrong += failed != 1; });
  close(at);
  EXPECT_EQ(wrong, 0) << "rounds in which not exactly one call was the first";
  EXPECT_EQ(others, 0);
  EXPECT_EQ(s.count(once).fired, static_cast<std::uint64_t>(n));
  EXPECT_EQ(s.count(once).matched, static_cast<std::uint64_t>(n) * threads);
  EXPECT_EQ(s.count(counted).fired, static_cast<std::uint64_t>(n) * 3);
  EXPECT_EQ(s.events(once).empty(), false);
}

TEST_F(FirstTouch, OfTheProcess) {  // each round a new rule
  std::uint64_t fired = 0;
  std::atomic<int> failed{0};
  std::uint32_t id = 0;
  int wrong = 0;
  constexpr int n = 3'000;
  rounds(n,
    [&](int) {
      s.remove(id);
      id = s.set("dns dns:nowhere.invalid EAI_AGAIN --times 1 --scope process");
      failed = 0;
    },
    [&](int, int) {
      addrinfo hints{}, *found = nullptr;
      hints.ai_flags = AI_NUMERICHOST;  // without the rule it fails at once, with EAI_NONAME
      if (getaddrinfo("nowhere.invalid", nullptr, &hints, &found) == EAI_AGAIN) failed.fetch_add(1);
    },
    [&](int) {
      wrong += failed != 1;
      fired += s.count(id).fired;
    });
  EXPECT_EQ(wrong, 0) << "rounds in which not exactly one call failed";
  EXPECT_EQ(fired, static_cast<std::uint64_t>(n));
}

}  // namespace
}  // namespace chaos::gate
