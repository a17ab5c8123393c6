// Many of everything: connections, threads, processes; and little of everything: descriptors, memory.
#include "abuse.hpp"

namespace chaos::abuse {
namespace {

void raise_descriptor_limit(rlim_t wanted) {
  rlimit now{};
  getrlimit(RLIMIT_NOFILE, &now);
  rlimit more{wanted, std::max(wanted, now.rlim_max)};
  if (setrlimit(RLIMIT_NOFILE, &more) < 0) {
    more = {std::min(wanted, now.rlim_max), now.rlim_max};
    setrlimit(RLIMIT_NOFILE, &more);
  }
}

// Accepts `n` connections, sends one byte on each when told, and ends when they do.
pid_t serve(const listener& l, int n, const int (&orders)[2]) {
  const pid_t child = fork();
  if (child != 0) return child;
  close(orders[1]);
  std::vector<int> peers;
  for (int i = 0; i < n; ++i) peers.push_back(accept(l.fd, nullptr, nullptr));
  char c;
  while (read(orders[0], &c, 1) == 1)
    for (const int fd : peers)
      if (send(fd, "x", 1, MSG_NOSIGNAL) != 1) _exit(1);
  _exit(0);
}

TEST_F(Abuse, TenThousandConnectionsAreEachDelayed) {
  constexpr int n = 10'000;
  raise_descriptor_limit(n + 500);
  listener l(4096);
  int orders[2];
  ASSERT_EQ(pipe(orders), 0);
  const pid_t server = serve(l, n, orders);
  close(orders[0]);
  const unique_fd set = epoll_create1(EPOLL_CLOEXEC);
  std::vector<unique_fd> connections;
  for (int i = 0; i < n; ++i) {
    unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = loopback(l.port);
    ASSERT_EQ(connect(fd, generic(to), sizeof to), 0) << i << ": " << strerror(errno);
    set_nonblocking(fd);
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u32 = static_cast<std::uint32_t>(i);
    ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), 0);
    connections.push_back(std::move(fd));
  }
  const auto id = s.set("latency " + l.target() + " 100ms");
  for (int round = 0; round < scaled(1, 10); ++round) {
    std::vector<bool> seen(n);
    int got = 0;
    double first = 0;
    const double start = monotonic_ms();
    ASSERT_EQ(write(orders[1], "g", 1), 1);
    while (got < n && monotonic_ms() - start < 40'000) {
      epoll_event events[512];
      const int ready = epoll_wait(set, events, 512, 1000);
      ASSERT_GE(ready, 0);
      for (int i = 0; i < ready; ++i) {
        const auto at = events[i].data.u32;
        char b[8];
        const ssize_t r = recv(connections[at], b, sizeof b, 0);
        if (r < 0 && errno == EAGAIN) continue;
        ASSERT_EQ(r, 1);
        EXPECT_FALSE(seen[at]) << "a byte came twice";
        seen[at] = true;
        if (got == 0) first = monotonic_ms() - start;
        ++got;
      }
    }
    EXPECT_EQ(got, n);
    EXPECT_GE(first, 99.8);
  }
  EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(n) * static_cast<unsigned>(scaled(1, 10)));
  close(orders[1]);
  EXPECT_EQ(exit_status(server), 0);
}

TEST_F(Abuse, AThousandThreadsAreHeldAtOnce) {
  const int n = 1000;
  raise_descriptor_limit(3 * n + 500);
  std::vector<tcp_pair> pairs(n);
  const auto id = s.set("latency 127.0.0.0/8 300ms");
  std::atomic<int> good{0}, early{0};
  std::vector<std::thread> threads;
  for (auto& p : pairs) ASSERT_EQ(send(p.far, "y", 1, 0), 1);
  const double start = monotonic_ms();
  for (auto& p : pairs)
    threads.emplace_back([&] {
      const double asked = monotonic_ms();
      char c = 0;
      if (recv(p.near, &c, 1, 0) == 1 && c == 'y') ++good;
      if (monotonic_ms() - std::min(asked, start) < 100) ++early;  // data was there before it was first looked at
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(good, n);
  EXPECT_EQ(early, 0);
  EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(n));
}

// Each looks now and then whether its rule is still there: all together not so often that they keep the machine busy.
TEST_F(Abuse, AThousandThreadsThatAreHeldForLongHardlyWake) {
  const int n = 1000;
  raise_descriptor_limit(3 * n + 500);
  std::vector<tcp_pair> pairs(n);
  const auto id = s.set("latency 127.0.0.0/8 10min");
  for (auto& p : pairs) ASSERT_EQ(send(p.far, "y", 1, 0), 1);
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (auto& p : pairs)
    threads.emplace_back([&] {
      char c = 0;
      if (recv(p.near, &c, 1, 0) == 1 && c == 'y') ++good;
    });
  EXPECT_TRUE(wait_until([&] { return s.count(id).fired == static_cast<std::uint64_t>(n); }, std::chrono::seconds(20)));
  const auto wakes = [] {
    rusage u{};
    getrusage(RUSAGE_SELF, &u);
    return static_cast<double>(u.ru_nvcsw);
  };
  const double before = wakes(), start = monotonic_ms();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(wakes() - before, n * 40 * (monotonic_ms() - start) / 1000);  // 16 times a second each
  EXPECT_EQ(good, 0);
  const double removed = monotonic_ms();
  s.remove(id);
  for (auto& t : threads) t.join();
  EXPECT_LT(monotonic_ms() - removed, 2000);
  EXPECT_EQ(good, n);
}

TEST_F(Abuse, ForkStorm) {
  const int threads = 4, forks = scaled(60, 1500);
  const auto id = s.set("latency 127.0.0.0/8 1ms");
  std::atomic<int> good{0};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&] {
      for (int i = 0; i < forks; ++i) {
        tcp_pair p;
        const pid_t child = fork();
        if (child == 0) {
          char c = 0;
          if (send(p.far, "z", 1, 0) != 1 || recv(p.near, &c, 1, 0) != 1 || c != 'z') _exit(1);
          free(malloc(1000));
          _exit(0);
        }
        if (child > 0 && exit_status(child) == 0) ++good;
      }
    });
  for (auto& t : all) t.join();
  EXPECT_EQ(good, threads * forks);
  EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(threads * forks));
}

TEST_F(Abuse, NoDescriptorLeft) {
  tcp_pair p;
  const auto id = s.set("latency " + p.target() + " 20ms");
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit few = before;
  few.rlim_cur = 64;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<unique_fd> taken;
  for (int fd; (fd = dup(0)) >= 0;) taken.emplace_back(fd);
  EXPECT_EQ(errno, EMFILE);
  char c = 0;
  const double start = monotonic_ms();
  ASSERT_EQ(send(p.far, "a", 1, 0), 1);
  EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
  EXPECT_GE(monotonic_ms() - start, 19.8);
  EXPECT_EQ(socket(AF_INET, SOCK_STREAM, 0), -1);
  EXPECT_EQ(errno, EMFILE);
  s.remove(id);
  taken.clear();
  setrlimit(RLIMIT_NOFILE, &before);
  const auto again = s.set("latency " + p.target() + " 20ms");
  ASSERT_EQ(send(p.far, "b", 1, 0), 1);
  EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
  EXPECT_EQ(c, 'b');
  EXPECT_EQ(s.count(again).fired, 1u);
}

TEST_F(Abuse, NoMemoryLeft) {
  tcp_pair p;
  const auto slow = s.set("latency " + p.target() + " 20ms"), seen = s.set("observe malloc --size 4KiB..");
  const pid_t child = fork();
  if (child == 0) {
    const auto used = [] {
      std::ifstream in("/proc/self/statm");
      std::size_t pages = 0;
      in >> pages;
      return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    }();
    const rlimit little{used + (8u << 20), used + (8u << 20)};
    setrlimit(RLIMIT_AS, &little);
    std::size_t blocks = 0;
    while (malloc(4096)) ++blocks;  // until there is none; what the shim needs is there already, or it does without
    if (errno != ENOMEM || blocks < 100) _exit(1);
    char c = 0;
    const double start = monotonic_ms();
    if (send(p.far, "m", 1, 0) != 1 || recv(p.near, &c, 1, 0) != 1 || c != 'm') _exit(2);
    if (monotonic_ms() - start < 19.8) _exit(3);
    const int fresh = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in to = loopback(p.service.port);
    if (connect(fresh, generic(to), sizeof to) != 0) _exit(4);
    _exit(0);
  }
  EXPECT_EQ(exit_status(child), 0);
  EXPECT_EQ(s.count(slow).fired, 1u);
  EXPECT_GT(s.count(seen).fired, 100u);
}

// More threads than a process can remember counts of: those of threads that ended are used again, so that each counts for itself.
TEST_F(Abuse, ThreadsThatComeAndGoEachCountForThemselves) {
  const int threads = scaled(70'000, 400'000);  // of counts there are 65,536
  constexpr int at_a_time = 8;
  const temporary_folder folder;
  const std::string path = folder.path() + "/file";
  const unique_fd file = open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  ASSERT_GE(static_cast<int>(file), 0);
  const auto id = s.set("error file:" + folder.path() + "/** EIO --on write --when 2");
  std::atomic<int> first_good{0}, second_failed{0}, third_good{0};
  for (int i = 0; i < threads; i += at_a_time) {
    std::vector<std::thread> some;
    for (int k = 0; k < at_a_time; ++k)
      some.emplace_back([&] {
        first_good += write(file, "x", 1) == 1;
        second_failed += write(file, "x", 1) == -1 && errno == EIO;
        third_good += write(file, "x", 1) == 1;
      });
    for (auto& t : some) t.join();
  }
  EXPECT_EQ(first_good, threads);
  EXPECT_EQ(second_failed, threads);
  EXPECT_EQ(third_good, threads);
  EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(threads));
  EXPECT_EQ(s.report().session.state_exhausted.load(), 0u);
}

}  // namespace
}  // namespace chaos::abuse
