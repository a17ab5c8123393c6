// How exactly latency is kept, 1 ms first, then 50 µs to 1 s: round trips over loopback on two connections in turn, one of them delayed, so that
// the direct round trip is measured beside the delayed one. The echo server is another process without the shim.
// Prints rows of a Markdown table: added time beyond direct + delay.
//
//   build/release/bin/bench_latency [rounds]    (starts itself again under libchaos.so, in a session of its own)
#include <poll.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/session.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/waiting.hpp"

using namespace chaos::testing_support;

namespace {

void echo(int listening) {  // every connection of a poll set, until the last is closed
  std::vector<pollfd> set{{listening, POLLIN, 0}};
  for (bool any = false; !any || set.size() > 1;) {
    poll(set.data(), set.size(), -1);
    if (set[0].revents) {
      set.push_back({accept(listening, nullptr, nullptr), POLLIN, 0});
      const int on = 1;
      setsockopt(set.back().fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      any = true;
    }
    for (std::size_t i = 1; i < set.size(); ++i) {
      char b[64];
      if (!set[i].revents) continue;
      const ssize_t n = recv(set[i].fd, b, sizeof b, 0);
      if (n > 0) {
        send(set[i].fd, b, static_cast<std::size_t>(n), MSG_NOSIGNAL);
        continue;
      }
      close(set[i].fd);
      set.erase(set.begin() + static_cast<long>(i));
      break;
    }
  }
}

struct service {
  listener l;
  pid_t pid = fork();
  unique_fd fd{socket(AF_INET, SOCK_STREAM, 0)};
  service() {
    if (pid == 0) {
      unsetenv("LD_PRELOAD");
      echo(l.fd);
      _exit(0);
    }
    const sockaddr_in to = loopback(l.port);
    connect(fd, generic(to), sizeof to);
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~service() {
    fd.reset();
    waitpid(pid, nullptr, 0);
  }
};

double percentile(std::vector<double> v, double p) {
  std::sort(v.begin(), v.end());
  return v[static_cast<std::size_t>(p * static_cast<double>(v.size() - 1))];
}

void compare(const char* what, session& s, int rounds, bool loop, int target_us = 1000) {
  service direct, delayed;
  const unique_fd direct_set = epoll_create1(0), delayed_set = epoll_create1(0);
  for (const auto& [one, set] : {std::pair{&direct, &direct_set}, {&delayed, &delayed_set}}) {
    if (loop) set_nonblocking(one->fd);
    epoll_event e{};
    e.events = EPOLLIN;
    epoll_ctl(*set, EPOLL_CTL_ADD, one->fd, &e);
  }
  const auto round_trip = [&](int fd, int set) {
    const std::uint64_t start = monotonic_ns();
    char c = 'x';
    if (send(fd, &c, 1, 0) != 1) std::abort();
    for (;;) {
      epoll_event e;
      if (loop && epoll_wait(set, &e, 1, 1000) != 1) std::abort();
      if (recv(fd, &c, 1, 0) == 1) break;
    }
    return static_cast<double>(monotonic_ns() - start) * 1e-3;
  };
  const auto id = s.set("latency " + delayed.l.target() + " " + std::to_string(target_us) + "us");
  std::vector<double> directly, added, again;
  for (int i = 0; i < rounds; ++i) {
    round_trip(direct.fd, direct_set);  // warm again after the wait of the last round
    const double d = round_trip(direct.fd, direct_set), d2 = round_trip(direct.fd, direct_set), x = round_trip(delayed.fd, delayed_set);
    directly.push_back(d);
    again.push_back(d2 - d);
    added.push_back(x - target_us - d2);
  }
  if (s.count(id).fired != static_cast<std::uint64_t>(rounds)) std::fprintf(stderr, "%s: fired %lu times in %d rounds, %lu lapses of the lease\n", what, static_cast<unsigned long>(s.count(id).fired), rounds, static_cast<unsigned long>(s.report().session.lease_lapses.load()));
  s.remove(id);
  if (target_us == 1000) std::printf("| A/A, %s | %+.1f | %+.1f | 0 |\n", what, percentile(again, 0.5), percentile(again, 0.99));
  std::printf("| %g ms, %s (direct: %.1f us) | %+.1f | %+.1f | ≤ +45 |\n", target_us * 1e-3, what, percentile(directly, 0.5), percentile(added, 0.5), percentile(added, 0.99));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const char* const inside = std::getenv("CHAOS_BENCH_INSIDE");
  if (!inside) {
    const temporary_folder folder;
    setenv("CHAOS_DIR", folder.path().c_str(), 1);
    setenv("LD_PRELOAD", CHAOS_LIBRARY, 1);
    setenv("CHAOS_BENCH_INSIDE", "1", 1);
    const pid_t child = fork();
    if (child == 0) {
      execv("/proc/self/exe", argv);
      _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  }
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 1000;
  session& s = session::of_this_process();
  std::atomic<bool> over{false};
  std::thread lease([&] {
    while (!over) {
      s.renew_lease();
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  });
  std::puts("| round trip | p50 us | p99 us | reach (p50) |\n|---|---|---|---|");
  compare("blocking recv", s, rounds, false);
  compare("epoll_wait + recv", s, rounds, true);
  for (const int target_us : {50, 200, 10'000, 100'000, 1'000'000}) {
    const int fewer = std::max(3, std::min(rounds, 2'000'000 / target_us));  // two seconds each
    compare("blocking recv", s, fewer, false, target_us);
    compare("epoll_wait + recv", s, fewer, true, target_us);
  }
  over = true;
  lease.join();
}
