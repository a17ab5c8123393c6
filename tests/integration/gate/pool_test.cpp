// Thread pools on one epoll set: workers come and go while connections are held, and none of these is forgotten.
#include "ways.hpp"

#include "preload/core/prng.hpp"

namespace chaos::gate {
namespace {

constexpr int workers = 4, connections = 8, rounds = 8, delay_ms = 20;

class Pool : public Gate, public testing::WithParamInterface<way> {};
INSTANTIATE_TEST_SUITE_P(Of, Pool, testing::Values(way::epoll_level, way::epoll_edge, way::epoll_oneshot), [](const auto& info) { return name_of(info.param); });

TEST_P(Pool, WaitersThatLeaveWhileTheyHoldOrphanNothing) {
  const std::uint32_t flags = GetParam() == way::epoll_edge ? static_cast<std::uint32_t>(EPOLLET) : GetParam() == way::epoll_oneshot ? static_cast<std::uint32_t>(EPOLLONESHOT) : 0;
  const unique_fd set = epoll_create1(0);
  std::vector<tcp_pair> pairs(connections);
  std::vector<std::uint32_t> ids;
  std::vector<std::string> rules;
  for (int i = 0; i < connections; ++i) {
    set_nonblocking(pairs[i].near);
    epoll_event e{};
    e.events = EPOLLIN | flags;
    e.data.u32 = static_cast<std::uint32_t>(i);
    ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, pairs[i].near, &e), 0);
    if (i % 2) rules.push_back("latency " + pairs[i].target() + " " + std::to_string(delay_ms) + "ms");
  }
  s.set_all(rules, ids);
  std::atomic<double> sent[connections] = {}, got[connections] = {};  // when the latest byte was; 0: not yet
  std::atomic<bool> over{false};
  const auto worker = [&](std::uint64_t number) {
    for (std::uint64_t turn = 0; !over; ++turn) {
      epoll_event e[2];
      core::draws d({number}, turn);
      const int n = epoll_wait(set, e, 2, static_cast<int>(d.below(12)));  // often gone before anything is due
      for (int k = 0; k < n; ++k) {
        const auto i = e[k].data.u32;
        char c;
        while (recv(pairs[i].near, &c, 1, 0) == 1) got[i] = monotonic_ms();
        if (!(flags & EPOLLONESHOT)) continue;
        epoll_event again{};
        again.events = EPOLLIN | flags;
        again.data.u32 = i;
        epoll_ctl(set, EPOLL_CTL_MOD, pairs[i].near, &again);
      }
      if (d.below(8) == 0) std::this_thread::yield();
    }
  };
  std::vector<std::thread> pool;
  for (int i = 0; i < workers; ++i) pool.emplace_back(worker, i + 1);
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < connections; ++i) {
      got[i] = 0;
      sent[i] = monotonic_ms();
      put(pairs[i].far, "x");
    }
    for (int i = 0; i < connections; ++i) {
      ASSERT_TRUE(wait_until([&] { return got[i] != 0; }, std::chrono::seconds(3)) || (over = true, false)) << "connection " << i << " was forgotten in round " << round;
      if (i % 2) EXPECT_TRUE(on_time(got[i] - sent[i], delay_ms)) << i;
      else EXPECT_LT(got[i] - sent[i], delay_ms) << i << " has no fault";
    }
  }
  over = true;
  for (auto& t : pool) t.join();
  for (const auto id : ids) EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(rounds));
}

// A set is known once, also when its first waiters come at one moment: what were left of a second one would be taken for the next set of
// the same number, whose events nobody would find there.
TEST_F(Gate, WaitersThatComeFirstAtOneMomentKnowOneSet) {
  constexpr int turns = 80;
  tcp_pair p;
  set_nonblocking(p.near);
  const auto id = delay(p.target(), 10);
  for (int turn = 1; turn <= turns && !HasFailure(); ++turn) {
    const auto watched = [&](std::uint64_t data) {
      unique_fd set = epoll_create1(EPOLL_CLOEXEC);
      epoll_event e{};
      e.events = EPOLLIN;
      e.data.u64 = data;
      EXPECT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, p.near, &e), 0);
      return set;
    };
    {
      const unique_fd set = watched(1);
      std::atomic<int> ready{0};
      std::vector<std::thread> all;
      for (int i = 0; i < workers; ++i)
        all.emplace_back([&] {
          epoll_event e;
          ++ready;
          while (ready < workers) std::this_thread::yield();
          EXPECT_EQ(epoll_wait(set, &e, 1, 0), 0);
        });
      for (auto& t : all) t.join();
    }
    const unique_fd next = watched(2);
    const double start = monotonic_ms();
    put(p.far, "x");
    epoll_event e{};
    EXPECT_EQ(epoll_wait(next, &e, 1, 5000), 1);
    EXPECT_GE(monotonic_ms() - start, 10 - early_ms) << "turn " << turn;
    EXPECT_EQ(e.data.u64, 2u);
    char c;
    EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
    EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(turn));
  }
}

}  // namespace
}  // namespace chaos::gate
