// What a hook of each class adds to a call, in ns: idle; with a rule of its class armed that does not match; matched by a rule
// that does not fire; fired. One call of each class stands for it; bench_hook_cost looks closer at the most frequent ones.
// Prints one Markdown table. Run it alone on the machine.
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/epoll.h>

#include <cstdio>
#include <functional>
#include <string>

#include "paired.hpp"
#include "tests/support/sockets.hpp"

using namespace chaos::bench;
using namespace chaos::testing_support;

namespace {

struct subject {
  const char* name;
  std::function<paired()> measure;     // hooked against libc's own
  std::string unmatched, matched, fired;  // rules; "": there is no such case
};

template <class F, class... A>
std::function<paired()> calls(F* hooked, const char* symbol, A... a) {
  F* const direct = in_libc<F*>(symbol);
  return [=] {
    F* volatile through_hook = hooked;
    return compare([=] { through_hook(a...); }, [=] { direct(a...); });
  };
}

int measure(session& s) {
  static char buffer[64] = "x";
  static tcp_pair tcp;
  static udp_pair udp;
  const unique_fd file = open("/dev/shm", O_TMPFILE | O_RDWR, 0600);
  if (write(file, buffer, 1) != 1) return 1;
  static epoll_event event;
  const unique_fd set = epoll_create1(0);
  static pollfd watched{tcp.near, POLLIN, 0};
  const std::string near = tcp.target(), elsewhere = "10.254.254.254:9", nowhere = "file:/nowhere/**", here = "file:/dev/shm/**";
  const auto allocate = [] {
    void* (*volatile take)(std::size_t) = &std::malloc;
    void (*volatile give)(void*) = &std::free;
    const auto real_take = in_libc<void* (*)(std::size_t)>("malloc");
    const auto real_give = in_libc<void (*)(void*)>("free");
    return compare([=] { void* p = take(64); asm volatile("" : : "r"(p) : "memory"); give(p); },
                   [=] { void* p = real_take(64); asm volatile("" : : "r"(p) : "memory"); real_give(p); });
  };
  const subject subjects[] = {
      {"stream_in: recv (EAGAIN)", calls<ssize_t(int, void*, size_t, int)>(recv, "recv", int(tcp.near), buffer, sizeof buffer, MSG_DONTWAIT),
       "error " + elsewhere + " ECONNRESET --on recv", "error " + near + " ECONNRESET --on recv --probability 0", "error " + near + " ECONNRESET --on recv"},
      {"stream_out: send of nothing", calls<ssize_t(int, const void*, size_t, int)>(send, "send", int(tcp.near), buffer, size_t{0}, MSG_NOSIGNAL),
       "error " + elsewhere + " EPIPE --on send", "error " + near + " EPIPE --on send --probability 0", "error " + near + " EPIPE --on send"},
      {"datagram_in: recv (EAGAIN)", calls<ssize_t(int, void*, size_t, int)>(recv, "recv", int(udp.near), buffer, sizeof buffer, MSG_DONTWAIT),
       "error udp://" + elsewhere + " ECONNREFUSED --on recv", "error " + udp.target() + " ECONNREFUSED --on recv --probability 0", "error " + udp.target() + " ECONNREFUSED --on recv"},
      {"readiness: poll of one, nothing ready", calls<int(pollfd*, nfds_t, int)>(poll, "poll", &watched, nfds_t{1}, 0), "latency " + elsewhere + " 1s", "latency " + near + " 1s", ""},
      {"readiness: epoll_wait, nothing ready", calls<int(int, epoll_event*, int, int)>(epoll_wait, "epoll_wait", int(set), &event, 1, 0), "latency " + elsewhere + " 1s", "", ""},
      {"file_io: pread of one byte", calls<ssize_t(int, void*, size_t, off_t)>(pread, "pread", int(file), buffer, size_t{1}, off_t{0}),
       "error " + nowhere + " EIO --on pread", "error " + here + " EIO --on pread --probability 0", "error " + here + " EIO --on pread"},
      {"sync: fsync on tmpfs", calls<int(int)>(fsync, "fsync", int(file)), "error " + nowhere + " EIO --on fsync", "error " + here + " EIO --on fsync --probability 0", "error " + here + " EIO --on fsync"},
      {"file_open: open (ENOENT)", [] {
         const auto direct = in_libc<int (*)(const char*, int, ...)>("open");
         int (*volatile hooked)(const char*, int, ...) = &open;
         return compare([=] { hooked("/dev/shm/none", O_RDONLY); }, [=] { direct("/dev/shm/none", O_RDONLY); });
       }, "error " + nowhere + " EIO --on open", "error " + here + " EIO --on open --probability 0", "error " + here + " EIO --on open"},
      {"close (EBADF)", calls<int(int)>(close, "close", -1), "slow_close " + elsewhere + " 1s", "", ""},
      {"alloc: malloc + free of 64 B", allocate, "enomem malloc --size 1GiB..", "enomem malloc --probability 0", ""},
      {"env: getenv (found)", calls<char*(const char*)>(getenv, "getenv", "CHAOS_DIR"), "unset env:NOWHERE", "replace env:CHAOS_DIR x --probability 0", "replace env:CHAOS_DIR x"},
      {"dns: getaddrinfo of a number", [] {
         static addrinfo hints{};
         hints.ai_flags = AI_NUMERICHOST;
         const auto direct = in_libc<decltype(&getaddrinfo)>("getaddrinfo");
         decltype(&getaddrinfo) volatile hooked = &getaddrinfo;
         const auto ask = [](auto f) { addrinfo* list = nullptr; if (f("127.0.0.1", nullptr, &hints, &list) == 0) freeaddrinfo(list); };
         return compare([=] { ask(hooked); }, [=] { ask(direct); });
       }, "dns dns:nowhere.invalid EAI_AGAIN", "dns dns:127.* EAI_AGAIN --probability 0", "dns dns:127.* EAI_AGAIN"},
  };
  std::puts("| class and call | direct ns | idle | armed, not matched | matched, not fired | fired (call not made) |\n|---|---|---|---|---|---|");
  const auto cell = [&](const subject& x, const std::string& rule) {
    if (rule.empty()) {
      std::printf(" – |");
      return;
    }
    const auto id = s.set(rule);
    const paired m = x.measure();
    s.remove(id);
    std::printf(" %+.1f (%+.1f … %+.1f) |", m.added_ns, m.low_ns, m.high_ns);
  };
  const auto real_recv = in_libc<ssize_t (*)(int, void*, size_t, int)>("recv");
  const paired nothing = compare([=] { real_recv(tcp.near, buffer, sizeof buffer, MSG_DONTWAIT); }, [=] { real_recv(tcp.near, buffer, sizeof buffer, MSG_DONTWAIT); });
  std::printf("| A/A: recv (EAGAIN) | %.1f | %+.1f (%+.1f … %+.1f) | – | – | – |\n", nothing.direct_ns, nothing.added_ns, nothing.low_ns, nothing.high_ns);
  std::vector<paired> idle;  // all before the first rule: classes that keep books linger for a while after the last
  for (const subject& x : subjects) idle.push_back(x.measure());
  for (std::size_t i = 0; i < idle.size(); ++i) {
    const subject& x = subjects[i];
    std::printf("| %s | %.1f | %+.1f (%+.1f … %+.1f) |", x.name, idle[i].direct_ns, idle[i].added_ns, idle[i].low_ns, idle[i].high_ns);
    cell(x, x.unmatched);
    cell(x, x.matched);
    cell(x, x.fired);
    std::puts("");
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int, char** argv) { return under_shim(argv, measure); }
