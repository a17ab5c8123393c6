// What a hook adds to a call, in ns: the interposed symbol against libc's own, in one process, in alternating batches
// A B B A of about 30 µs, hundreds of quads, median of the paired differences. The first row is A against A: what the
// method itself resolves. Prints one Markdown table; run it alone on the machine.
//
//   build/release/bin/bench_hook_cost        (starts itself again under libchaos.so, in a session of its own)
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "paired.hpp"
#include "tests/support/sockets.hpp"

using namespace chaos::bench;
using namespace chaos::testing_support;

namespace {

constexpr int quads = 400;
constexpr int sends_at_once = 128;  // what was sent is taken away between batches

void row(const char* what, const paired& m, const char* reach) {
  std::printf("| %-46s | %8.1f | %+8.2f | %+7.2f … %+7.2f | %s |\n", what, m.direct_ns, m.added_ns, m.low_ns, m.high_ns, reach);
  std::fflush(stdout);
}

double two_threads(void* (*take)(std::size_t), void (*give)(void*)) {
  std::atomic<int> ready{0};
  double ns[2];
  const auto work = [&](int i) {
    ++ready;
    while (ready < 2) {}
    const auto from = monotonic_ns();
    for (int k = 0; k < 200'000; ++k) {
      void* p = take(64);
      asm volatile("" : : "r"(p) : "memory");
      give(p);
    }
    ns[i] = static_cast<double>(monotonic_ns() - from) / 200'000;
  };
  std::thread a(work, 0), b(work, 1);
  a.join();
  b.join();
  return (ns[0] + ns[1]) / 2;
}

// What any hook pays that has something to do after a system call: one return more, which the processor can not foresee.
[[gnu::noinline]] ssize_t bare_recv(ssize_t (*const& real)(int, void*, size_t, int), int fd, void* buffer, size_t n, int flags) {
  const ssize_t got = real(fd, buffer, n, flags);
  asm volatile("" : : : "memory");
  return got;
}
[[gnu::noinline]] ssize_t bare_send(ssize_t (*const& real)(int, const void*, size_t, int), int fd, const void* buffer, size_t n, int flags) {
  const ssize_t sent = real(fd, buffer, n, flags);
  asm volatile("" : : : "memory");
  return sent;
}

int measure(session& s) {
  const auto real_write = in_libc<ssize_t (*)(int, const void*, size_t)>("write");
  const auto real_recv = in_libc<ssize_t (*)(int, void*, size_t, int)>("recv");
  const auto real_malloc = in_libc<void* (*)(size_t)>("malloc");
  const auto real_free = in_libc<void (*)(void*)>("free");
  volatile auto write_ = &::write;
  volatile auto recv_ = &::recv;
  void* (*volatile malloc_)(size_t) = &std::malloc;
  void (*volatile free_)(void*) = &std::free;
  const tcp_pair tcp;
  const int fd = tcp.near, null = open("/dev/null", O_WRONLY);
  const std::string here = tcp.target();
  char buffer[64] = "x";

  const auto direct_write = [&] { real_write(null, buffer, 1); };
  const auto hooked_write = [&] { write_(null, buffer, 1); };
  const auto direct_recv = [&] { real_recv(fd, buffer, sizeof buffer, MSG_DONTWAIT); };
  const auto hooked_recv = [&] { recv_(fd, buffer, sizeof buffer, MSG_DONTWAIT); };
  const auto direct_alloc = [&] { void* p = real_malloc(64); asm volatile("" : : "r"(p) : "memory"); real_free(p); };
  const auto hooked_alloc = [&] { void* p = malloc_(64); asm volatile("" : : "r"(p) : "memory"); free_(p); };
  std::puts("| call | direct ns | added ns | quartiles | reach |\n|---|---|---|---|---|");
  row("A/A: recv (EAGAIN)", compare(direct_recv, direct_recv, quads), "0");
  row("idle: write to /dev/null", compare(hooked_write, direct_write, quads), "≤ +2");
  row("idle: recv (EAGAIN)", compare(hooked_recv, direct_recv, quads), "≤ +2");
  row("idle: malloc + free of 64 B", compare(hooked_alloc, direct_alloc, quads), "≤ 1.2×");
  double direct2[9], hooked2[9];
  for (int i = 0; i < 9; ++i) { direct2[i] = two_threads(real_malloc, real_free); hooked2[i] = two_threads(malloc_, free_); }
  std::sort(direct2, direct2 + 9);
  std::sort(hooked2, hooked2 + 9);
  std::printf("| %-46s | %8.1f | %+8.2f | ratio %.2f | ≤ 1.2× |\n", "idle: malloc + free, two threads", direct2[4], hooked2[4] - direct2[4], hooked2[4] / direct2[4]);

  auto id = s.set("latency 10.254.254.254:9 1ms");
  const auto of_files = s.set("observe file:/nowhere/**");  // or write would still be idle
  hooked_recv();
  hooked_write();
  row("armed, connection not matched: recv", compare(hooked_recv, direct_recv, quads), "≤ +5");
  row("armed, not matched: write to /dev/null", compare(hooked_write, direct_write, quads), "≤ +5");
  s.remove(of_files);
  s.remove(id);

  // Sends of one byte.
  int pair[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  const auto drain = [&] {
    char sink[65536];
    while (real_recv(pair[1], sink, sizeof sink, MSG_DONTWAIT) > 0) {}
  };
  const auto real_send = in_libc<ssize_t (*)(int, const void*, size_t, int)>("send");
  volatile auto send_ = &::send;
  const auto direct_send = [&] { real_send(pair[0], buffer, 1, 0); };
  const auto hooked_send = [&] { send_(pair[0], buffer, 1, 0); };
  id = s.set("error " + here + " ECONNRESET --on recv --probability 0");
  hooked_recv();
  row("a function around recv that does nothing", compare([&] { bare_recv(real_recv, fd, buffer, sizeof buffer, MSG_DONTWAIT); }, direct_recv, quads), "");
  row("matched, trigger says no: recv (counted)", compare(hooked_recv, direct_recv, quads), "≤ +15");
  s.remove(id);
  id = s.set("error " + here + " ECONNRESET --on recv --probability 0.0000000001");
  hooked_recv();
  row("the same, and a draw is made", compare(hooked_recv, direct_recv, quads), "");
  s.remove(id);
  const std::string there = "fd:" + std::to_string(pair[0]);
  row("A/A: send", compare(direct_send, direct_send, quads, sends_at_once, drain), "0");
  id = s.set("error " + there + " EPIPE --on send --probability 0");
  hooked_send();
  row("a function around send that does nothing", compare([&] { bare_send(real_send, pair[0], buffer, 1, 0); }, direct_send, quads, sends_at_once, drain), "");
  row("matched, trigger says no: send (counted)", compare(hooked_send, direct_send, quads, sends_at_once, drain), "≤ +15");
  s.remove(id);
  id = s.set("error " + there + " EPIPE --on send --probability 1%");
  hooked_send();
  row("the same, and in 1 of 100 it fires", compare(hooked_send, direct_send, quads, sends_at_once, drain), "");
  std::thread([&] { hooked_send(); }).join();
  row("the same, and another thread used it too", compare(hooked_send, direct_send, quads, sends_at_once, drain), "");
  s.remove(id);
  id = s.set("error " + here + " EPIPE --on send");
  const auto fired_send = [&] { send_(fd, buffer, 1, 0); };
  const auto nothing = [] {};
  row("fired error, event recorded: send", compare(fired_send, nothing, quads, sends_at_once), "≤ 150");
  s.remove(id);
  return 0;
}

}  // namespace

int main(int, char** argv) { return under_shim(argv, measure); }
