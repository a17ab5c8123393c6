// Latency is no throughput limit, is exact for each byte, and costs nothing while it holds.
#include "channels.hpp"
#include "sinks.hpp"
#include "ways.hpp"

#include <netinet/tcp.h>

#include <ctime>
#include <memory>

namespace chaos::gate {
namespace {

double thread_cpu_ms() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

std::size_t drain(int fd, way how, std::size_t n) {
  waiter w(fd, how);
  static thread_local char b[1 << 18];
  std::size_t got = 0;
  const double deadline = monotonic_ms() + 20'000;
  while (got < n && monotonic_ms() < deadline && w.ready()) {
    const ssize_t r = recv(fd, b, sizeof b, 0);
    if (r > 0) got += static_cast<std::size_t>(r);
    else if (r == 0 || errno != EAGAIN) break;
  }
  return got;
}

class Flow : public Gate, public testing::WithParamInterface<way> {};
INSTANTIATE_TEST_SUITE_P(By, Flow, testing::Values(way::blocking, way::epoll_level), [](const auto& info) { return name_of(info.param); });

TEST_P(Flow, BulkRunsWithinTwiceTheBandwidthDelayLimit) {
  constexpr std::size_t total = 200'000'000;
  constexpr double delay_s = 0.05;
  tcp_pair p;
  const int wish = 16 << 20;
  if (setsockopt(p.near, SOL_SOCKET, SO_RCVBUFFORCE, &wish, sizeof wish) != 0) setsockopt(p.near, SOL_SOCKET, SO_RCVBUF, &wish, sizeof wish);
  int buffer = 0;
  socklen_t n = sizeof buffer;
  getsockopt(p.near, SOL_SOCKET, SO_RCVBUF, &buffer, &n);
  const double limit_s = total / (buffer / 2 / delay_s);  // half of a buffer is for the kernel's own use: tcp(7)
  const auto id = delay(p.target(), 50);
  std::thread peer([&] {
    const std::string part(1 << 18, 'x');
    for (std::size_t sent = 0; sent < total;) {
      const ssize_t r = send(p.far, part.data(), std::min(part.size(), total - sent), MSG_NOSIGNAL);
      if (r <= 0) return;
      sent += static_cast<std::size_t>(r);
    }
  });
  const double start = monotonic_ms();
  EXPECT_EQ(drain(p.near, GetParam(), total), total);
  const double took_s = (monotonic_ms() - start) / 1000;
  peer.join();
  EXPECT_GE(took_s, delay_s);
  EXPECT_LE(took_s, 2 * limit_s) << "buffer " << buffer << ", " << total / took_s * 1e-6 << " MB/s";
  EXPECT_GT(s.count(id).fired, 10u);
  EXPECT_EQ(s.count(id).bytes, total);
  std::printf("%s: %.0f MB/s through 50 ms with a buffer of %d bytes; the limit is %.0f\n", name_of(GetParam()).c_str(),
              total / took_s * 1e-6, buffer, total / limit_s * 1e-6);
}

TEST_P(Flow, EachByteIsLateByTheDelayToAThirdOfAMillisecond) {
  constexpr int messages = 1000, size = 100;
  tcp_pair p;
  const auto id = delay(p.target(), 50);
  std::thread peer([&] {
    std::uint64_t next = monotonic_ns();
    char m[size] = {};
    for (int i = 0; i < messages; ++i, next += 1'000'000) {
      const timespec at{static_cast<time_t>(next / 1'000'000'000), static_cast<long>(next % 1'000'000'000)};
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
      const std::uint64_t now = monotonic_ns();
      std::memcpy(m, &now, sizeof now);
      if (send(p.far, m, size, MSG_NOSIGNAL) != size) return;
    }
  });
  std::vector<double> late_ms;
  std::string have;
  waiter w(p.near, GetParam());
  while (late_ms.size() < messages && w.ready()) {
    char b[4096];
    const ssize_t r = recv(p.near, b, sizeof b, 0);
    if (r < 0 && errno == EAGAIN) continue;
    ASSERT_GT(r, 0);
    const std::uint64_t now = monotonic_ns();
    have.append(b, static_cast<std::size_t>(r));
    for (; have.size() >= size; have.erase(0, size)) {
      std::uint64_t sent;
      std::memcpy(&sent, have.data(), sizeof sent);
      late_ms.push_back(static_cast<double>(now - sent) * 1e-6);
    }
  }
  peer.join();
  ASSERT_EQ(late_ms.size(), static_cast<std::size_t>(messages));
  std::sort(late_ms.begin(), late_ms.end());
  EXPECT_GE(late_ms.front(), 50 - 0.3);
  EXPECT_NEAR(late_ms[messages / 2], 50, 0.3);
  EXPECT_EQ(s.count(id).bytes, static_cast<std::uint64_t>(messages * size));
  std::printf("%s: p50 %.3f ms, p99 %.3f ms\n", name_of(GetParam()).c_str(), late_ms[messages / 2], late_ms[messages * 99 / 100]);
}

// Something that a kernel would report again and again, held for a second.
struct noise {
  const char* name;
  over transport;
  void (*make)(channel&);
};
const noise noises[] = {
    {"a reset behind data", over::tcp, [](channel& c) {
       c.tell("x");
       pollfd p{c.near, POLLIN, 0};
       poll(&p, 1, 5);  // seen, and held, before the reset comes
       const linger hard{1, 0};
       setsockopt(c.far, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
       c.far.reset();
     }},
    {"an end behind data", over::tcp, [](channel& c) { c.tell("x"); c.far.reset(); }},
    {"an end, and shut down here", over::tcp, [](channel& c) {
       c.tell("x");
       shutdown(c.near, SHUT_WR);
       c.far.reset();
     }},
    {"a closed unix peer", over::unix_stream, [](channel& c) { c.tell("x"); c.far.reset(); }},
    {"a full buffer", over::tcp, [](channel& c) {
       set_nonblocking(c.far);
       const std::string part(1 << 16, 'x');
       for (int quiet = 0; quiet < 20;) {
         if (send(c.far, part.data(), part.size(), MSG_NOSIGNAL) > 0) { quiet = 0; continue; }
         ++quiet;
         std::this_thread::sleep_for(std::chrono::milliseconds(1));
       }
     }},
    {"a datagram", over::udp, [](channel& c) { c.tell("x"); }},
    {"an unconnected socket", over::udp, [](channel& c) {
       c.near = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
       const sockaddr_in any = loopback(0);
       bind(c.near, generic(any), sizeof any);
       const sockaddr_in here = loopback(port_of(c.near));
       connect(c.far, generic(here), sizeof here);
       c.tell("x");
     }},
};

TEST_F(Gate, AHeldSecondCostsNoCpuWhateverTheKernelHasToTell) {
  struct one {
    const noise* what;
    way how;
    channel c;
    double cpu_ms = 0, took_ms = 0;
    std::string got;
    one(const noise& n, way w) : what(&n), how(w), c(n.transport) {}
  };
  std::vector<std::unique_ptr<one>> all;
  std::vector<std::string> rules;
  std::vector<std::uint32_t> ids;
  for (const noise& n : noises)
    for (const way w : all_ways) {
      all.push_back(std::make_unique<one>(n, w));
      rules.push_back("latency " + all.back()->c.target + " 1s");
    }
  s.set_all(rules, ids);
  for (auto& o : all) o->what->make(o->c);
  std::vector<std::thread> threads;
  for (auto& o : all)
    threads.emplace_back([&o = *o] {
      const double start = monotonic_ms(), before = thread_cpu_ms();
      o.got = read_by(o.c.near, o.how, 1);
      o.cpu_ms = thread_cpu_ms() - before;
      o.took_ms = monotonic_ms() - start;
    });
  for (auto& t : threads) t.join();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string where = std::string(all[i]->what->name) + ", " + name_of(all[i]->how);
    EXPECT_EQ(all[i]->got, "x") << where;
    EXPECT_GT(all[i]->took_ms, 500) << where;  // those made first are held by the time that the last are made
    EXPECT_LT(all[i]->cpu_ms, 25) << where;    // 2.5 % of one processor
    EXPECT_GE(s.count(ids[i]).fired, 1u) << where;
  }
}

TEST_F(Gate, AConnectHeldForASecondCostsNoCpu) {
  const listener service;
  const auto id = s.set("latency " + service.target() + " 1s --on connect");
  std::vector<std::thread> threads;
  for (const way w : all_ways)
    threads.emplace_back([&, w] {
      const unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (w == way::blocking ? 0 : SOCK_NONBLOCK), 0);
      const sockaddr_in to = loopback(service.port);
      const double start = monotonic_ms(), before = thread_cpu_ms();
      connect(fd, generic(to), sizeof to);
      waiter waits(fd, w, EPOLLOUT);
      EXPECT_TRUE(waits.ready()) << name_of(w);
      EXPECT_TRUE(on_time(monotonic_ms() - start, 1000)) << name_of(w);
      EXPECT_LT(thread_cpu_ms() - before, 25) << name_of(w);
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(s.count(id).fired, std::size(all_ways));
}

}  // namespace
}  // namespace chaos::gate
