// latency --on accept: a connection is there when it is due, for those who block and for those who are told of it.
#include "ways.hpp"

#include <sys/syscall.h>
#include <sys/wait.h>

namespace chaos::gate {
namespace {

unique_fd call(std::uint16_t port) {
  unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in to = loopback(port);
  EXPECT_EQ(connect(fd, generic(to), sizeof to), 0);
  return fd;
}
unique_fd call(const std::string& path) {
  unique_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::strncpy(to.sun_path, path.c_str(), sizeof to.sun_path - 1);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  return fd;
}

// Takes one connection as a program of that way does.
unique_fd accept_by(int fd, way how, waiter& w) {
  const double deadline = monotonic_ms() + 10'000;
  bool told = how == way::epoll_edge;  // an edge is told once: what came before is asked for first
  while (monotonic_ms() < deadline && (std::exchange(told, false) || w.ready())) {
    unique_fd taken = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (taken >= 0 || errno != EAGAIN || how == way::blocking) return taken;
    w.again();
  }
  return -1;
}

class Accepts : public Gate, public testing::WithParamInterface<way> {
 protected:
  const way how = GetParam();
  std::uint32_t delay_at(const listener& l, int ms, const std::string& more = "") {
    return s.set("latency listen:" + std::to_string(l.port) + " " + std::to_string(ms) + "ms --on accept" + more);
  }
};
INSTANTIATE_TEST_SUITE_P(By, Accepts, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

TEST_P(Accepts, AConnectionIsThereWhenItIsDue) {
  listener l;
  const auto id = delay_at(l, 40);
  waiter w(l.fd, how);
  const double start = monotonic_ms(), cpu = cpu_ms();
  const unique_fd client = call(l.port);
  if (how != way::blocking) {
    const timed early = time_of([&] { return accept(l.fd, nullptr, nullptr); });
    EXPECT_EQ(early.result, -1);
    EXPECT_EQ(early.error, EAGAIN);
    EXPECT_LT(early.ms, 10) << "an event loop does not sleep in accept";
    EXPECT_FALSE(w.ready(5)) << "and is not told of what can not be had";
    EXPECT_EQ(s.count(id).fired, 0u);
  }
  const unique_fd taken = accept_by(l.fd, how, w);
  ASSERT_GE(taken, 0);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 40));
  EXPECT_LT(cpu_ms() - cpu, 20);
  const auto c = s.count(id);
  EXPECT_EQ(c.matched, 1u);
  EXPECT_EQ(c.fired, 1u);
  EXPECT_EQ(c.delayed_ns, 40'000'000u);
  ASSERT_EQ(s.events(id).size(), 1u);
  EXPECT_EQ(std::string(s.events(id)[0].text), "listen:" + std::to_string(l.port));
  put(client, "hello");
  EXPECT_EQ(read_by(taken, way::blocking, 5), "hello");
}

TEST_P(Accepts, TheDelayBeginsWithTheConnectionNotWithTheCall) {
  listener l;
  const auto id = delay_at(l, 30);
  waiter w(l.fd, how);
  unique_fd client;
  const double start = monotonic_ms();  // the other may be under way before this one goes on
  std::thread late([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(40));
    client = call(l.port);
  });
  const unique_fd taken = accept_by(l.fd, how, w);
  late.join();
  ASSERT_GE(taken, 0);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 70));
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_P(Accepts, EachOfSeveralHasItsOwnDueTime) {  // 20 ms apart, each 60 ms late: not one behind the other
  listener l;
  const auto id = delay_at(l, 60);
  waiter w(l.fd, how);
  std::vector<unique_fd> clients;
  const double start = monotonic_ms();
  std::thread callers([&] {
    for (int i = 0; i < 3; ++i) {
      if (i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      clients.push_back(call(l.port));
    }
  });
  for (int i = 0; i < 3; ++i) {
    const unique_fd taken = accept_by(l.fd, how, w);
    ASSERT_GE(taken, 0);
    EXPECT_TRUE(on_time(monotonic_ms() - start, 60 + 20 * i)) << i;
    w.again();
  }
  callers.join();
  EXPECT_EQ(s.count(id).fired, 3u);
  EXPECT_EQ(s.count(id).matched, 3u);
}

TEST_P(Accepts, RemovalLetsGoWithin10Ms) {
  expect_prompt([&] {
    listener l;
    const auto id = delay_at(l, 5000);
    waiter w(l.fd, how);
    const unique_fd client = call(l.port);
    double removed = 0;
    std::thread remover([&] {
      wait_until([&] { return s.count(id).matched > 0; });
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      removed = monotonic_ms();
      s.remove(id);
    });
    EXPECT_GE(accept_by(l.fd, how, w), 0);
    const double now = monotonic_ms();
    remover.join();
    EXPECT_EQ(s.count(id).fired, 1u) << "it was held";
    EXPECT_LT(s.count(id).delayed_ns, 1'000'000'000u) << "and only so long";
    return now - removed;
  });
}

TEST_P(Accepts, UnixConnectionsAreDelayedToo) {
  temporary_folder folder;
  const std::string path = folder.path() + "/socket";
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  std::strncpy(a.sun_path, path.c_str(), sizeof a.sun_path - 1);
  const unique_fd l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(l, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  ASSERT_EQ(listen(l, 8), 0);
  const auto id = s.set("latency unix:" + path + " 30ms --on accept");
  waiter w(l, how);
  const double start = monotonic_ms();
  const unique_fd client = call(path);
  const unique_fd taken = accept_by(l, how, w);
  ASSERT_GE(taken, 0);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 30));
  EXPECT_EQ(s.count(id).fired, 1u);
}

using Accept = Gate;

TEST_F(Accept, WhatATriggerSparesIsThereAtOnce) {
  listener l;
  set_nonblocking(l.fd);
  const auto id = s.set("latency listen:" + std::to_string(l.port) + " 40ms --on accept --when 2");
  const unique_fd a = call(l.port), b = call(l.port);
  waiter w(l.fd, way::poll);
  const double start = monotonic_ms();
  EXPECT_GE(accept_by(l.fd, way::poll, w), 0);
  EXPECT_LT(monotonic_ms() - start, 20);
  EXPECT_GE(accept_by(l.fd, way::poll, w), 0);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 40));
  EXPECT_EQ(s.count(id).fired, 1u);
  EXPECT_EQ(s.count(id).matched, 2u);
}

TEST_F(Accept, AReceiveTimeoutEndsTheWait) {
  listener l;
  const timeval soon{0, 20'000};
  setsockopt(l.fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
  const auto id = s.set("latency listen:" + std::to_string(l.port) + " 60ms --on accept");
  const unique_fd client = call(l.port);
  const double start = monotonic_ms();
  const timed t = time_of([&] { return accept(l.fd, nullptr, nullptr); });
  EXPECT_EQ(t.result, -1);
  EXPECT_EQ(t.error, EAGAIN);
  EXPECT_TRUE(on_time(t.ms, 20));
  unique_fd taken;
  while (taken < 0 && monotonic_ms() - start < 2000) taken.reset(accept(l.fd, nullptr, nullptr));
  ASSERT_GE(taken, 0);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 60));
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Accept, ThreadsThatBlockTogetherAreAllDelayedOnce) {
  listener l;
  const auto id = s.set("latency listen:" + std::to_string(l.port) + " 30ms --on accept");
  std::mutex access;
  std::vector<double> at;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      const unique_fd taken = accept(l.fd, nullptr, nullptr);
      const std::scoped_lock one(access);
      if (taken >= 0) at.push_back(monotonic_ms());
    });
  std::vector<unique_fd> clients;
  std::vector<double> called;
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    called.push_back(monotonic_ms());
    clients.push_back(call(l.port));
  }
  for (auto& t : threads) t.join();
  ASSERT_EQ(at.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(on_time(at[i] - called[i], 30)) << i;
  EXPECT_EQ(s.count(id).fired, 3u);
  EXPECT_EQ(s.count(id).matched, 3u);
}

TEST_F(Accept, OfProcessesThatShareAListenerOnlyTheOneThatGetsTheConnectionCountsIt) {
  listener l;
  set_nonblocking(l.fd);
  const auto id = s.set("latency listen:" + std::to_string(l.port) + " 40ms --on accept");
  const auto worker = [&] {
    waiter w(l.fd, way::epoll_level);
    const double deadline = monotonic_ms() + 150;
    int taken = 0;
    while (monotonic_ms() < deadline)
      if (w.ready(20)) {
        const unique_fd one = accept(l.fd, nullptr, nullptr);
        taken += one >= 0;
      }
    return taken;
  };
  std::vector<pid_t> workers;
  for (int i = 0; i < 3; ++i)
    if (const pid_t child = fork()) workers.push_back(child);
    else _exit(worker());
  const unique_fd client = call(l.port);
  int taken = 0;
  for (const pid_t child : workers) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    taken += WEXITSTATUS(status);
  }
  EXPECT_EQ(taken, 1);
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Accept, AFailedAcceptLeavesTheConnectionForTheNext) {
  listener l;
  const auto slow = s.set("latency listen:" + std::to_string(l.port) + " 20ms --on accept");
  const auto failing = s.set("error listen:" + std::to_string(l.port) + " ECONNABORTED --on accept --times 1");
  const unique_fd client = call(l.port);
  const timed first = time_of([&] { return accept(l.fd, nullptr, nullptr); });
  EXPECT_EQ(first.result, -1);
  EXPECT_EQ(first.error, ECONNABORTED);
  const unique_fd taken = accept(l.fd, nullptr, nullptr);
  EXPECT_GE(taken, 0);
  EXPECT_EQ(s.count(slow).fired, 1u);
  EXPECT_EQ(s.count(failing).fired, 1u);
}

// Two block in accept for one connection. The one that did not get it is cancelled there: from then on nobody here is about to
// take one, and a connection that somebody else takes is missed. Else the next would count as that one, and come too early.
TEST_F(Accept, AThreadCancelledInAcceptIsNotWaitedFor) {
  listener l;
  const auto id = s.set("latency listen:" + std::to_string(l.port) + " 60ms --on accept");
  std::atomic<int> taken{0};
  std::atomic<bool> gone[2] = {};
  pthread_t threads[2];
  struct one { int fd; std::atomic<int>& taken; std::atomic<bool>& gone; } both[2] = {{l.fd, taken, gone[0]}, {l.fd, taken, gone[1]}};
  for (int i = 0; i < 2; ++i)
    ASSERT_EQ(pthread_create(&threads[i], nullptr, [](void* p) -> void* {
      const one& o = *static_cast<one*>(p);
      const int fd = accept(o.fd, nullptr, nullptr);
      o.taken += fd >= 0;
      o.gone = true;
      close(fd);
      return nullptr;
    }, &both[i]), 0);
  const unique_fd first = call(l.port);
  ASSERT_TRUE(wait_until([&] { return taken == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the other has found the queue empty, in the kernel
  for (int i = 0; i < 2; ++i) {
    if (!gone[i]) pthread_cancel(threads[i]);
    pthread_join(threads[i], nullptr);
  }
  EXPECT_EQ(taken, 1);
  EXPECT_EQ(s.count(id).fired, 1u);

  set_nonblocking(l.fd);
  const auto look = [&] {
    pollfd p{l.fd, POLLIN, 0};
    return poll(&p, 1, 0);
  };
  const unique_fd stolen = call(l.port);
  EXPECT_EQ(look(), 0) << "not due";
  const unique_fd elsewhere = static_cast<int>(syscall(SYS_accept4, l.fd.operator int(), nullptr, nullptr, 0));  // past the hooks, as another process would
  ASSERT_GE(elsewhere, 0);
  EXPECT_EQ(look(), 0) << "nobody there";
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const unique_fd next = call(l.port);
  const double start = monotonic_ms();
  waiter w(l.fd, way::poll);
  EXPECT_GE(accept_by(l.fd, way::poll, w), 0);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 60)) << "timed from its own coming";
  EXPECT_EQ(s.count(id).fired, 2u);
  EXPECT_EQ(s.count(id).matched, 2u);
}

// What is counted on a listener is counted for all threads that accept on it.
TEST_F(Accept, ThreadsThatAcceptOnOneListenerCountTogether) {
  constexpr int servers = 4, clients = 24;
  listener l, other;
  set_nonblocking(l.fd);
  const auto id = s.set("error listen:" + std::to_string(l.port) + ",listen:" + std::to_string(other.port) + " ECONNABORTED --on accept --times 3");
  std::atomic<int> failed{0}, taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < servers; ++t)
    threads.emplace_back([&] {
      while (taken < clients) {
        pollfd p{l.fd, POLLIN, 0};
        poll(&p, 1, 20);
        const unique_fd one = accept(l.fd, nullptr, nullptr);
        if (one >= 0) ++taken;
        else if (errno != EAGAIN) ++failed;
      }
    });
  std::vector<unique_fd> calls;
  for (int i = 0; i < clients; ++i) calls.push_back(call(l.port));
  for (auto& t : threads) t.join();
  EXPECT_EQ(failed, 3);
  EXPECT_EQ(s.count(id).fired, 3u);
  const unique_fd one = call(other.port);
  EXPECT_EQ(accept(other.fd, nullptr, nullptr), -1) << "each listener has counts of its own";
  EXPECT_EQ(s.count(id).fired, 4u);
}

}  // namespace
}  // namespace chaos::gate
