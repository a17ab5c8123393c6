// Held calls that are not left in peace: signals, cancellation, rules that come and go, sudden death.
#include <pthread.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "abuse.hpp"

namespace chaos::abuse {
namespace {

extern "C" void do_nothing(int) {}

void install_handler(int number, int flags) {
  struct sigaction a{};
  a.sa_handler = do_nothing;
  a.sa_flags = flags;
  sigaction(number, &a, nullptr);
}

struct storm {  // signals for one thread, until it is over
  std::atomic<bool> over{false};
  std::thread sender;
  storm(pthread_t target, int number)
      : sender([this, target, number] {
          while (!over) {
            pthread_kill(target, number);
            std::this_thread::sleep_for(std::chrono::microseconds(200));
          }
        }) {}
  ~storm() {
    over = true;
    sender.join();
  }
};

TEST_F(Abuse, SignalsWithRestartDoNotShortenAHeldCall) {
  install_handler(SIGUSR1, SA_RESTART);
  const auto id = s.set("latency 127.0.0.0/8 50ms");
  const int rounds = scaled(5, 200);
  const storm signals(pthread_self(), SIGUSR1);
  for (int i = 0; i < rounds; ++i) {
    tcp_pair p;
    char c = 0;
    const double start = monotonic_ms();
    ASSERT_EQ(send(p.far, "r", 1, 0), 1);
    ASSERT_EQ(recv(p.near, &c, 1, 0), 1) << strerror(errno);
    EXPECT_EQ(c, 'r');
    EXPECT_GE(monotonic_ms() - start, 49.8);
  }
  EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(rounds));
}

TEST_F(Abuse, SignalsWithoutRestartInterruptAndLoseNothing) {
  install_handler(SIGUSR2, 0);
  const auto id = s.set("latency 127.0.0.0/8 30ms");
  const int rounds = scaled(5, 200);
  int interrupted = 0;
  for (int i = 0; i < rounds; ++i) {
    tcp_pair p;
    char b[11] = {};
    const double start = monotonic_ms();
    ASSERT_EQ(send(p.far, "0123456789", 10, 0), 10);
    {
      const storm signals(pthread_self(), SIGUSR2);
      for (std::size_t got = 0; got < 10;) {
        const ssize_t r = recv(p.near, b + got, 10 - got, 0);
        if (r < 0) {
          ASSERT_EQ(errno, EINTR);
          ++interrupted;
          continue;
        }
        ASSERT_GT(r, 0);
        got += static_cast<std::size_t>(r);
      }
    }
    EXPECT_STREQ(b, "0123456789");
    EXPECT_GE(monotonic_ms() - start, 29.8);
  }
  EXPECT_GT(interrupted, 0);
  EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(rounds)) << "asking again is not another arrival";
}

TEST_F(Abuse, HeldThreadsAreCancelledAndTheDataStaysForTheNext) {
  const int rounds = scaled(40, 2000);
  const std::size_t before = open_descriptors();
  for (int i = 0; i < rounds; ++i) {
    tcp_pair p;
    const auto id = s.set("latency " + p.target() + " 20ms");
    ASSERT_EQ(send(p.far, "kept", 4, 0), 4);
    pthread_t thread;
    const int fd = p.near;
    pthread_create(&thread, nullptr, [](void* at) -> void* {
      char b[4];
      for (;;) recv(*static_cast<const int*>(at), b, 4, MSG_PEEK);
    }, const_cast<int*>(&fd));
    std::this_thread::sleep_for(std::chrono::microseconds(chance().below(25'000)));
    pthread_cancel(thread);
    void* outcome = nullptr;
    pthread_join(thread, &outcome);
    EXPECT_EQ(outcome, PTHREAD_CANCELED);
    char b[5] = {};
    ASSERT_TRUE(read_exactly(p.near, b, 4));
    EXPECT_STREQ(b, "kept");
    s.remove(id);
  }
  EXPECT_EQ(open_descriptors(), before);
}

struct handled {
  int set, fd;
  std::atomic<std::uint64_t> latest{0};
};
constinit handled* in_the_handler = nullptr;

extern "C" void register_anew(int) {
  const int before = errno;
  handled& h = *in_the_handler;
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.u64 = ++h.latest;
  epoll_ctl(h.set, EPOLL_CTL_MOD, h.fd, &e);
  errno = before;
}

// A handler that changes a set in the middle of a change to it: what is known of the set is what the kernel has in the end.
TEST_F(Abuse, ASignalHandlerChangesASetThatIsBeingChanged) {
  tcp_pair changed, other;
  set_nonblocking(changed.near);
  const unique_fd set = epoll_create1(EPOLL_CLOEXEC);
  const auto id = s.set("latency " + changed.target() + " 30ms");
  const auto idle = s.set("latency " + other.target() + " 30ms");
  handled h{set, changed.near};
  in_the_handler = &h;
  epoll_event e{};
  e.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, changed.near, &e), 0);
  e.data.u64 = ~std::uint64_t{0};
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, other.near, &e), 0);
  ASSERT_EQ(epoll_wait(set, &e, 1, 0), 0);  // loaded
  struct sigaction a{};
  a.sa_handler = register_anew;
  a.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &a, nullptr);
  const int rounds = scaled(10, 200);
  for (int i = 0; i < rounds && !HasFailure(); ++i) {
    {
      const std::uint64_t from = h.latest;
      const storm signals(pthread_self(), SIGUSR1);
      while (h.latest < from + 5) {
        e.events = EPOLLIN;
        e.data.u64 = ~std::uint64_t{0};
        ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_MOD, other.near, &e), 0);
      }
    }
    const double start = monotonic_ms();
    ASSERT_EQ(send(changed.far, "r", 1, 0), 1);
    ASSERT_EQ(epoll_wait(set, &e, 1, 5000), 1);
    EXPECT_GE(monotonic_ms() - start, 29.8) << "round " << i;
    EXPECT_EQ(e.data.u64, h.latest.load());
    char c = 0;
    EXPECT_EQ(recv(changed.near, &c, 1, 0), 1);
  }
  signal(SIGUSR1, SIG_DFL);
  in_the_handler = nullptr;
  if (!HasFailure()) { EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(rounds)); }
  EXPECT_EQ(s.count(idle).fired, 0u);
}

std::size_t mapped_pages() {
  std::ifstream in("/proc/self/statm");
  std::size_t all = 0;
  in >> all;
  return all;
}

// In a poll of so many that they stand on pages of their own; in a wait on a set, whose registrations are not the program's then.
TEST_F(Abuse, ACancelledWaitLeavesNothingBehind) {
  constexpr int connections = 100;
  std::vector<tcp_pair> pairs(connections);
  std::vector<pollfd> fds;
  const unique_fd set = epoll_create1(EPOLL_CLOEXEC);
  for (tcp_pair& p : pairs) {
    set_nonblocking(p.near);
    fds.push_back({p.near, POLLIN, 0});
    epoll_event e{};
    e.events = EPOLLIN | EPOLLET;
    e.data.fd = p.near;
    ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, p.near, &e), 0);
  }
  struct wait_for {
    std::vector<pollfd>& fds;
    int set;
    int round;
    std::atomic<bool> begun{false};
  };
  const auto raw_threshold = [](int fd) {  // past the hook, which says what the program set
    int n = 0;
    socklen_t size = sizeof n;
    syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_RCVLOWAT, &n, &size);
    return n;
  };
  std::size_t before = 0;
  const int rounds = scaled(36, 400), warm = 12;
  for (int i = 0; i < rounds && !HasFailure(); ++i) {
    const auto id = s.set("latency 127.0.0.0/8 10s");
    for (tcp_pair& p : pairs) ASSERT_EQ(syscall(SYS_sendto, p.far.operator int(), "x", 1, 0, nullptr, 0), 1);
    wait_for w{fds, set, i};
    pthread_t thread;
    pthread_create(&thread, nullptr, [](void* at) -> void* {
      auto& all = *static_cast<wait_for*>(at);
      all.begun = true;
      epoll_event told[4];
      fd_set read_set;
      char b[4];
      for (;;) {
        switch (all.round % 4) {
          case 0: poll(all.fds.data(), all.fds.size(), 10'000); break;
          case 1: epoll_wait(all.set, told, 4, 10'000); break;
          case 2:
            FD_ZERO(&read_set);
            for (const pollfd& p : all.fds) FD_SET(p.fd, &read_set);
            select(FD_SETSIZE, &read_set, nullptr, nullptr, nullptr);
            break;
          default:
            fcntl(all.fds[0].fd, F_SETFL, 0);
            recv(all.fds[0].fd, b, sizeof b, MSG_PEEK);
        }
      }
    }, &w);
    EXPECT_TRUE(wait_until([&] { return w.begun && s.count(id).fired >= (i % 4 == 3 ? 1u : static_cast<unsigned>(connections)); })) << "round " << i;
    std::this_thread::sleep_for(std::chrono::microseconds(chance().below(10'000)));
    pthread_cancel(thread);
    void* outcome = nullptr;
    pthread_join(thread, &outcome);
    EXPECT_EQ(outcome, PTHREAD_CANCELED);
    for (int k = 0; k < connections; ++k) {
      EXPECT_EQ(fds[k].fd, pairs[k].near.operator int());
      EXPECT_EQ(fds[k].events, POLLIN);
      EXPECT_EQ(raw_threshold(pairs[k].near), 1) << "round " << i;
    }
    s.remove(id);
    epoll_event told[connections];
    int ready = 0;
    for (int n; ready < connections && (n = epoll_wait(set, told, connections, 1000)) > 0;) ready += n;
    EXPECT_GE(ready, connections) << "an edge that a hold swallowed is told when it is over; round " << i;
    for (tcp_pair& p : pairs) {
      char c;
      EXPECT_EQ(recv(p.near, &c, 1, MSG_DONTWAIT), 1);
    }
    set_nonblocking(pairs[0].near);
    if (i == warm) before = mapped_pages();
  }
  EXPECT_LE(mapped_pages(), before + 16) << "each poll of so many takes more than one";
}

// A send that corrupts goes out of a copy; sendfile and its like go through one.
TEST_F(Abuse, ACancelledSendLeavesNoCopyBehind) {
  const temporary_folder folder;
  const unique_fd file = open((folder.path() + "/file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_EQ(ftruncate(file, 64 << 20), 0);
  struct sending {
    int fd, file;
    bool by_file;
    std::atomic<std::uint64_t> begun{0};
  };
  std::size_t before = 0;
  const int rounds = scaled(24, 200), warm = 8;
  for (int i = 0; i < rounds && !HasFailure(); ++i) {
    tcp_pair p;
    const int small = 4096;
    setsockopt(p.near, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    const auto id = s.set("corrupt " + p.target() + " --bits 1 --direction up");
    sending all{p.near, file, i % 2 != 0};
    pthread_t thread;
    pthread_create(&thread, nullptr, [](void* at) -> void* {
      auto& a = *static_cast<sending*>(at);
      static char block[64 * 1024];
      off_t from = 0;
      for (;;) {
        ++a.begun;
        if (a.by_file) sendfile(a.fd, a.file, &from, sizeof block);
        else send(a.fd, block, sizeof block, MSG_NOSIGNAL);
      }
    }, &all);
    std::uint64_t seen = 0;
    EXPECT_TRUE(wait_until([&] {  // until the peer, who does not read, takes no more
      const std::uint64_t now = all.begun;
      if (now == 0 || now != seen) { seen = now; std::this_thread::sleep_for(std::chrono::milliseconds(30)); return false; }
      return true;
    }));
    pthread_cancel(thread);
    void* outcome = nullptr;
    pthread_join(thread, &outcome);
    EXPECT_EQ(outcome, PTHREAD_CANCELED);
    EXPECT_GE(s.count(id).matched, 1u);
    s.remove(id);
    if (i == warm) before = mapped_pages();
  }
  EXPECT_LE(mapped_pages(), before + 16) << "each of them is 16 pages";
}

// Two threads echo numbered bytes through a connection while rules come and go a thousand times a second.
TEST_F(Abuse, RulesChangeAThousandTimesASecondUnderLoad) {
  tcp_pair p;
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> sent{0}, received{0}, wrong{0};
  std::thread writer([&] {
    std::uint8_t next = 0;
    std::uint8_t block[64];
    while (!over) {
      for (auto& b : block) b = next++;
      for (std::size_t at = 0; at < sizeof block;) {
        const ssize_t n = send(p.far, block + at, sizeof block - at, 0);
        if (n <= 0) return;
        at += static_cast<std::size_t>(n);
      }
      sent += sizeof block;
    }
    shutdown(p.far, SHUT_WR);
  });
  std::thread reader([&] {
    std::uint8_t next = 0, block[256];
    ssize_t n;
    while ((n = recv(p.near, block, sizeof block, 0)) > 0) {
      for (ssize_t i = 0; i < n; ++i)
        if (block[i] != next++) ++wrong;
      received += static_cast<std::uint64_t>(n);
    }
    EXPECT_EQ(n, 0) << strerror(errno);  // no rule that can end it ever fires
    shutdown(p.near, SHUT_RDWR);         // else the writer would wait for ever
  });
  const char* const kinds[] = {"latency %s 1ms", "latency %s 300us --jitter 200us", "slicer %s --average-size 5B", "bandwidth %s 50MB/s", "observe %s",
                               "loss %s 0%%", "error %s ECONNRESET --probability 0", "latency 10.1.2.3:4 1s", "observe malloc", "pause process 0 --process none"};
  std::vector<std::uint32_t> live;
  const double end = monotonic_ms() + scaled(2000, 60'000);
  int changes = 0;
  for (double due = monotonic_ms(); monotonic_ms() < end; due += 1) {
    char words[128];
    if (live.size() < 8 && chance().chance(1ull << 31)) {
      const std::string kind = kinds[chance().below(9)];
      std::snprintf(words, sizeof words, kind.c_str(), p.target().c_str());
      live.push_back(s.set(words));
    } else if (!live.empty()) {
      const auto at = live.begin() + static_cast<std::ptrdiff_t>(chance().below(live.size()));
      s.remove(*at);
      live.erase(at);
    }
    ++changes;
    while (monotonic_ms() < due + 1) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  s.clear();
  over = true;
  writer.join();
  reader.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(received, sent);
  EXPECT_GT(received, 10'000u);
  EXPECT_GT(changes, scaled(500, 15'000));
}

TEST_F(Abuse, ThousandsOfRulesOneAfterTheOtherEachCountFromOne) {
  tcp_pair p;
  for (int i = 0; i < scaled(3000, 140'000); ++i) {  // the pool of trigger states holds 65,536
    const auto id = s.set("error " + p.target() + " ETIMEDOUT --on send --when 2 --scope " + (i % 2 ? "connection" : "thread"));
    ASSERT_EQ(send(p.near, "1", 1, 0), 1) << "rule " << i;
    ASSERT_EQ(send(p.near, "2", 1, 0), -1) << "rule " << i;
    ASSERT_EQ(send(p.near, "3", 1, 0), 1) << "rule " << i;
    ASSERT_EQ(s.count(id).fired, 1u);
    s.remove(id);
    char b[2];
    ASSERT_TRUE(read_exactly(p.far, b, 2));
  }
  EXPECT_EQ(s.report().session.state_exhausted.load(), 0u);
}

// A process that dies while it holds data back leaves marks on a socket that others share: they must not hurt.
TEST_F(Abuse, ASharedSocketSurvivesAHolderThatIsKilled) {
  for (int i = 0; i < scaled(15, 400); ++i) {
    tcp_pair p;
    set_nonblocking(p.near);
    const auto id = s.set("latency " + p.target() + " 10s");
    int started[2];
    ASSERT_EQ(pipe(started), 0);
    const pid_t holder = fork();
    if (holder == 0) {
      const int set = epoll_create1(0);
      epoll_event e{};
      e.events = EPOLLIN;
      epoll_ctl(set, EPOLL_CTL_ADD, p.near, &e);
      if (write(started[1], "s", 1) != 1) _exit(1);
      for (;;) epoll_wait(set, &e, 1, -1);
    }
    char c;
    ASSERT_EQ(read(started[0], &c, 1), 1);
    close(started[0]);
    close(started[1]);
    const std::string text(100 + chance().below(3000), 'k');
    ASSERT_EQ(send(p.far, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    std::this_thread::sleep_for(std::chrono::microseconds(chance().below(30'000)));
    kill(holder, SIGKILL);
    EXPECT_EQ(exit_status(holder), 128 + SIGKILL);
    const auto milder = s.set("latency " + p.target() + " 1ms");
    s.remove(id);
    const unique_fd set = epoll_create1(EPOLL_CLOEXEC);
    epoll_event e{};
    e.events = EPOLLIN;
    ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, p.near, &e), 0);
    std::size_t got = 0;
    char b[4096];
    while (got < text.size()) {
      ASSERT_EQ(epoll_wait(set, &e, 1, 3000), 1) << "data that the dead holder held back never shows, round " << i << ", " << text.size() << " bytes";
      const ssize_t r = recv(p.near, b, sizeof b, 0);
      if (r < 0 && errno == EAGAIN) continue;
      ASSERT_GT(r, 0);
      got += static_cast<std::size_t>(r);
    }
    EXPECT_EQ(got, text.size());
    s.remove(milder);
  }
}

}  // namespace
}  // namespace chaos::abuse
