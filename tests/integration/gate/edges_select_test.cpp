// select, whose sets are the program's own memory, and whose time-out tells what was left.
#include "calls.hpp"
#include "channels.hpp"
#include "ways.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <csignal>
#include <fstream>
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

// More descriptors than an fd_set has room for, in sets of the program's own.
class Beyond : public Calls {
 protected:
  rlimit before{};
  void SetUp() override {
    getrlimit(RLIMIT_NOFILE, &before);
    rlimit more = before;
    more.rlim_cur = 4096;
    if (before.rlim_max < more.rlim_cur) GTEST_SKIP() << "no more than " << before.rlim_max << " descriptors are allowed";
    if (before.rlim_cur < more.rlim_cur) { ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &more), 0); }
  }
  void TearDown() override { setrlimit(RLIMIT_NOFILE, &before); }
  static bool in(const std::vector<fd_mask>& set, int fd) { return set[fd / NFDBITS] >> (fd % NFDBITS) & 1; }
};

TEST_F(Beyond, SelectHoldsWhatIsNotDue) {
  tcp_pair p;
  const unique_fd high = fcntl(p.near, F_DUPFD_CLOEXEC, 2500), free = fcntl(p.far, F_DUPFD_CLOEXEC, 2600);
  ASSERT_GE(free, 0);
  const auto id = delay(p.target(), 40);
  const double start = monotonic_ms();
  put(p.far, "x");
  std::vector<fd_mask> reads(2601 / NFDBITS + 1), writes(reads.size());
  reads[high / NFDBITS] |= fd_mask{1} << (high % NFDBITS);
  EXPECT_EQ(select(2601, reinterpret_cast<fd_set*>(reads.data()), nullptr, nullptr, nullptr), 1);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 40));
  EXPECT_TRUE(in(reads, high));
  EXPECT_EQ(s.count(id).fired, 1u);
  // Another one is not held up by it.
  put(p.far, "y");
  writes[free / NFDBITS] |= fd_mask{1} << (free % NFDBITS);
  char c;
  EXPECT_EQ(recv(high, &c, 1, 0), 1);
  const timed t = time_of([&] { return select(2601, reinterpret_cast<fd_set*>(reads.data()), reinterpret_cast<fd_set*>(writes.data()), nullptr, nullptr); });
  EXPECT_EQ(t.result, 1);
  EXPECT_LT(t.ms, 30);
  EXPECT_FALSE(in(reads, high));
  EXPECT_TRUE(in(writes, free));
  EXPECT_EQ(s.count(id).fired, 2u);
}

// Asked about more than there can be, the kernel looks at so many as there is room for in the process: what stands behind may be no memory.
TEST_F(Beyond, SelectTouchesNoMoreOfASetThanTheKernel) {
  tcp_pair p;
  const unique_fd high = fcntl(p.near, F_DUPFD_CLOEXEC, 1500);
  ASSERT_GE(high, 0);
  std::ifstream status("/proc/self/status");
  std::size_t room = 0;
  for (std::string word; status >> word && word != "FDSize:";) {}
  status >> room;
  ASSERT_GT(room, 1500u);
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), bytes = room / 8;
  auto* const pages = static_cast<char*>(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(pages, MAP_FAILED);
  ASSERT_LE(bytes, page);
  ASSERT_EQ(mprotect(pages + page, page, PROT_NONE), 0);
  auto* const set = reinterpret_cast<fd_mask*>(pages + page - bytes);
  const auto id = delay(p.target(), 20);
  put(p.far, "x");
  set[high / NFDBITS] |= fd_mask{1} << (high % NFDBITS);
  EXPECT_EQ(select(1'000'000'000, reinterpret_cast<fd_set*>(set), nullptr, nullptr, nullptr), 1);
  EXPECT_EQ(s.count(id).fired, 1u);
  munmap(pages, 2 * page);
}

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
