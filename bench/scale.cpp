// What grows with what: rules (1 to 256), connections in an epoll set (10 to 10,000), threads (1 to 64). Everything against
// libc's own calls in the same process, A B B A. Prints Markdown tables. Run it alone on the machine.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "paired.hpp"
#include "tests/support/sockets.hpp"

using namespace chaos::bench;
using namespace chaos::testing_support;

namespace {

using receive = ssize_t (*)(int, void*, size_t, int);
char buffer[64];

paired receiving(int fd) {
  receive volatile hooked = &recv;
  const auto direct = in_libc<receive>("recv");
  return compare([=] { hooked(fd, buffer, sizeof buffer, MSG_DONTWAIT); }, [=] { direct(fd, buffer, sizeof buffer, MSG_DONTWAIT); });
}

void rules(session& s) {
  std::puts("| rules in force | recv, none matches: added ns | recv, all match, none fires: added ns |\n|---|---|---|");
  for (const int n : {1, 4, 16, 64, 256}) {
    tcp_pair p;
    std::vector<std::uint32_t> ids;
    std::vector<std::string> words;
    for (int i = 0; i < n; ++i) words.push_back("error 10.9." + std::to_string(i) + ".1:9 ECONNRESET --on recv");
    s.set_all(words, ids);
    const paired none = receiving(p.near);
    s.clear();
    for (auto& w : words) w = "error " + p.target() + " ECONNRESET --on recv --probability 0";
    s.set_all(words, ids);
    const paired all = receiving(p.near);
    s.clear();
    std::printf("| %d | %+.1f (%+.1f … %+.1f) | %+.0f (%+.0f … %+.0f) |\n", n, none.added_ns, none.low_ns, none.high_ns, all.added_ns, all.low_ns, all.high_ns);
    std::fflush(stdout);
  }
}

void connections(session& s) {
  rlimit more{25'000, 25'000};
  if (setrlimit(RLIMIT_NOFILE, &more) < 0) {
    getrlimit(RLIMIT_NOFILE, &more);
    more.rlim_cur = more.rlim_max;
    setrlimit(RLIMIT_NOFILE, &more);
  }
  const auto direct_wait = in_libc<decltype(&epoll_wait)>("epoll_wait");
  decltype(&epoll_wait) volatile hooked_wait = &epoll_wait;
  const auto direct_recv = in_libc<receive>("recv");
  receive volatile hooked_recv = &recv;
  const auto real_send = in_libc<decltype(&send)>("send");
  std::puts("\n| connections in an epoll set | a round trip through it, ns | idle: added | armed, none matches: added | one of them under 1 s of latency: added |\n|---|---|---|---|---|");
  listener l(1024);
  std::vector<unique_fd> near, far;
  const unique_fd set = epoll_create1(0);
  const int sizes[] = {10, 100, 1000, 9000};
  std::vector<paired> idle;
  const auto grow = [&](int n) {
    while (near.size() < static_cast<std::size_t>(n)) {
      unique_fd fd = socket(AF_INET, SOCK_STREAM, 0);
      const sockaddr_in to = loopback(l.port);
      if (connect(fd, generic(to), sizeof to) != 0) std::abort();
      far.emplace_back(accept(l.fd, nullptr, nullptr));
      set_nonblocking(fd);
      epoll_event e{};
      e.events = EPOLLIN;
      e.data.fd = fd;
      epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
      near.push_back(std::move(fd));
    }
  };
  std::size_t next = 0;
  const auto round = [&](auto wait, auto take) {
    next = 1 + (next + 7) % (near.size() - 1);  // never the first, which one column holds back
    real_send(far[next], "x", 1, 0);
    epoll_event e;
    if (wait(set, &e, 1, 1000) == 1) take(e.data.fd, buffer, sizeof buffer, 0);
  };
  const auto hooked = [&] { round(hooked_wait, hooked_recv); };
  const auto direct = [&] { round(direct_wait, direct_recv); };
  for (const int n : sizes) {  // idle is before the first rule: classes that keep books linger for a while after the last
    grow(n);
    idle.push_back(compare(hooked, direct));
  }
  for (std::size_t i = std::size(sizes); i-- > 0;) {
    near.resize(static_cast<std::size_t>(sizes[i]));
    far.resize(near.size());
    auto id = s.set("latency 10.9.9.9:9 1s");
    const paired armed = compare(hooked, direct);
    s.remove(id);
    id = s.set("latency fd:" + std::to_string(near[0]) + " 1s");
    const paired one = compare(hooked, direct);
    s.remove(id);
    std::printf("| %d | %.0f | %+.0f (%+.0f … %+.0f) | %+.0f (%+.0f … %+.0f) | %+.0f (%+.0f … %+.0f) |\n", sizes[i], idle[i].direct_ns, idle[i].added_ns, idle[i].low_ns,
                idle[i].high_ns, armed.added_ns, armed.low_ns, armed.high_ns, one.added_ns, one.low_ns, one.high_ns);
    std::fflush(stdout);
  }
}

struct spread { double median, low, high, direct_ns; };

double each_in(int threads, const std::function<void(int)>& call) {  // ns of CPU for one call
  constexpr int calls = 20'000;
  std::vector<std::thread> all;
  std::atomic<std::uint64_t> cpu{0};
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      timespec from{}, to{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
      for (int i = 0; i < calls; ++i) call(t);
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
      cpu += static_cast<std::uint64_t>((to.tv_sec - from.tv_sec) * 1'000'000'000 + to.tv_nsec - from.tv_nsec);
    });
  for (auto& t : all) t.join();
  return static_cast<double>(cpu) / (static_cast<double>(calls) * threads);
}

void threads(session& s) {
  std::puts("\n| threads, a connection each | recv, ns of CPU | idle | armed, none matches | matched, counted |\n|---|---|---|---|---|");
  std::vector<std::unique_ptr<tcp_pair>> pairs;
  const auto direct = in_libc<receive>("recv");
  receive volatile hooked = &recv;
  const int sizes[] = {1, 2, 8, 64};
  std::vector<spread> idle;
  for (const bool before_rules : {true, false})
  for (const int n : sizes) {
    while (pairs.size() < static_cast<std::size_t>(n)) pairs.push_back(std::make_unique<tcp_pair>());
    const auto ratio = [&] {
      std::vector<double> ratios, direct_ns;
      for (int i = 0; i < 9; ++i) {
        const double a = each_in(n, [&](int t) { hooked(pairs[static_cast<std::size_t>(t)]->near, buffer, 1, MSG_DONTWAIT); });
        const double b = each_in(n, [&](int t) { direct(pairs[static_cast<std::size_t>(t)]->near, buffer, 1, MSG_DONTWAIT); });
        ratios.push_back(a / b);
        direct_ns.push_back(b);
      }
      std::sort(ratios.begin(), ratios.end());
      std::sort(direct_ns.begin(), direct_ns.end());
      return spread{ratios[4], ratios[2], ratios[6], direct_ns[4]};
    };
    if (before_rules) {
      idle.push_back(ratio());
      continue;
    }
    auto id = s.set("latency 10.9.9.9:9 1s");
    const spread armed = ratio();
    s.remove(id);
    id = s.set("error 127.0.0.0/8 ECONNRESET --on recv --probability 0");
    const spread matched = ratio();
    s.remove(id);
    const spread& still = idle[static_cast<std::size_t>(std::find(std::begin(sizes), std::end(sizes), n) - std::begin(sizes))];
    std::printf("| %d | %.0f |", n, still.direct_ns);
    for (const spread& x : {still, armed, matched}) std::printf(" %.2f× (%.2f … %.2f) |", x.median, x.low, x.high);
    std::puts("");
    std::fflush(stdout);
  }
}

int measure(session& s) {
  const std::string part = std::getenv("CHAOS_BENCH_PART");
  (part == "rules" ? rules : part == "threads" ? threads : connections)(s);
  return 0;
}

}  // namespace

int main(int, char** argv) {
  if (std::getenv("CHAOS_BENCH_PART")) return under_shim(argv, measure);
  int status = 0;
  for (const char* part : {"rules", "threads", "connections"}) {  // a process and a session each: all begin idle
    setenv("CHAOS_BENCH_PART", part, 1);
    status |= under_shim(argv, measure);
  }
  return status;
}
