// select, whose sets are the program's own memory, and whose time-out tells what was left.
#include "calls.hpp"
#include "channels.hpp"
#include "ways.hpp"

#include <csignal>
#include <vector>

namespace chaos::gate {
namespace {

// libevent's sets are as long as the highest descriptor needs. What stands behind them is another's.
TEST_F(Calls, SelectTouchesNoMoreOfASetThanItIsToldOf) {
  tcp_pair p;
  set_nonblocking(p.near);
  const auto id = delay(p.target(), 20);
  put(p.far, "x");
  const std::size_t words = static_cast<std::size_t>(p.near) / NFDBITS + 1;
  std::vector<fd_mask> room(3 * 2 * words, -1);
  fd_mask* const sets[3] = {room.data(), room.data() + 2 * words, room.data() + 4 * words};
  for (int round = 0; round < 2; ++round) {  // until the time is up; and until it is due
    for (fd_mask* set : sets) std::fill_n(set, words, 0);
    sets[0][words - 1] = fd_mask{1} << (p.near % NFDBITS);
    timeval t{round * 5, 1000};
    const auto as_set = [&](int i) { return reinterpret_cast<fd_set*>(sets[i]); };
    EXPECT_EQ(select(p.near + 1, as_set(0), as_set(1), as_set(2), &t), round);
    for (int i = 0; i < 3; ++i)
      for (std::size_t w = 0; w < words; ++w) {
        EXPECT_EQ(sets[i][w], round && i == 0 && w == words - 1 ? fd_mask{1} << (p.near % NFDBITS) : 0);
        EXPECT_EQ(sets[i][words + w], -1) << "set " << i;
      }
  }
  EXPECT_EQ(s.count(id).fired, 1u);
}

extern "C" void nothing_at_all(int) {}

TEST_F(Calls, SelectTellsWhatWasLeftWhenASignalCame) {
  tcp_pair p;
  delay(p.target(), 10'000);
  put(p.far, "x");
  struct sigaction a{};
  a.sa_handler = nothing_at_all;
  sigaction(SIGUSR1, &a, nullptr);
  const pthread_t self = pthread_self();
  std::thread signals = after(50, [&] { pthread_kill(self, SIGUSR1); });
  fd_set in;
  FD_ZERO(&in);
  FD_SET(p.near, &in);
  timeval t{5, 0};
  EXPECT_EQ(select(p.near + 1, &in, nullptr, nullptr, &t), -1);
  EXPECT_EQ(errno, EINTR);
  EXPECT_LT(t.tv_sec, 5);
  EXPECT_GE(t.tv_sec, 3);
  signals.join();
  signal(SIGUSR1, SIG_DFL);
}

}  // namespace
}  // namespace chaos::gate
