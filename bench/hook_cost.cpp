// What a hook adds to a call, in ns: the interposed symbol against libc's own, in one process, in alternating batches
// A B B A of about 30 µs, hundreds of quads, median of the paired differences. The first row is A against A: what the
// method itself resolves. Prints one Markdown table; run it alone on the machine.
//
//   build/release/bin/bench_hook_cost        (starts itself again under libchaos.so, in a session of its own)
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/tcp.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/session.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace chaos::testing_support;
using clock_type = std::chrono::steady_clock;

namespace {

double now_ns() { return static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(clock_type::now().time_since_epoch()).count()); }

struct measured { double added, direct, low, high; };

// `between` runs after each batch, outside the timing.
template <class A, class B, class Between = void (*)()>
measured compare(A a, B b, int quads = 400, int at_most = 1 << 20, Between between = [] {}) {
  const auto batch = [&](auto& f, int n) {
    const double t = now_ns();
    for (int i = 0; i < n; ++i) f();
    const double per_call = (now_ns() - t) / n;
    between();
    return per_call;
  };
  int n = 16;
  while (batch(b, n) * n < 30'000 && n < at_most) n *= 2;
  std::vector<double> difference, direct;
  for (int q = 0; q < quads; ++q) {
    const double a1 = batch(a, n), b1 = batch(b, n), b2 = batch(b, n), a2 = batch(a, n);
    difference.push_back((a1 + a2 - b1 - b2) / 2);
    direct.push_back((b1 + b2) / 2);
  }
  std::sort(difference.begin(), difference.end());
  std::sort(direct.begin(), direct.end());
  return {difference[difference.size() / 2], direct[direct.size() / 2], difference[difference.size() / 4], difference[difference.size() * 3 / 4]};
}

void row(const char* what, const measured& m, const char* reach) {
  std::printf("| %-46s | %8.1f | %+8.2f | %+7.2f … %+7.2f | %s |\n", what, m.direct, m.added, m.low, m.high, reach);
  std::fflush(stdout);
}

template <class F>
F libc(const char* name) {
  void* handle = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
  return reinterpret_cast<F>(dlsym(handle, name));
}

int connected(int& peer) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t n = sizeof a;
  bind(listener, reinterpret_cast<sockaddr*>(&a), n);
  listen(listener, 1);
  getsockname(listener, reinterpret_cast<sockaddr*>(&a), &n);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  connect(fd, reinterpret_cast<sockaddr*>(&a), n);
  peer = accept(listener, nullptr, nullptr);
  close(listener);
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

double two_threads(void* (*take)(std::size_t), void (*give)(void*)) {
  std::atomic<int> ready{0};
  double ns[2];
  const auto work = [&](int i) {
    ++ready;
    while (ready < 2) {}
    const double t = now_ns();
    for (int k = 0; k < 200'000; ++k) {
      void* p = take(64);
      asm volatile("" : : "r"(p) : "memory");
      give(p);
    }
    ns[i] = (now_ns() - t) / 200'000;
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

int measure() {
  session& s = session::of_this_process();
  const auto real_write = libc<ssize_t (*)(int, const void*, size_t)>("write");
  const auto real_recv = libc<ssize_t (*)(int, void*, size_t, int)>("recv");
  const auto real_malloc = libc<void* (*)(size_t)>("malloc");
  const auto real_free = libc<void (*)(void*)>("free");
  volatile auto write_ = &::write;
  volatile auto recv_ = &::recv;
  void* (*volatile malloc_)(size_t) = &std::malloc;
  void (*volatile free_)(void*) = &std::free;
  int peer;
  const int fd = connected(peer), null = open("/dev/null", O_WRONLY);
  sockaddr_in to{};
  socklen_t n = sizeof to;
  getpeername(fd, reinterpret_cast<sockaddr*>(&to), &n);
  const std::string here = "127.0.0.1:" + std::to_string(ntohs(to.sin_port));
  char buffer[64] = "x";

  const auto direct_write = [&] { real_write(null, buffer, 1); };
  const auto hooked_write = [&] { write_(null, buffer, 1); };
  const auto direct_recv = [&] { real_recv(fd, buffer, sizeof buffer, MSG_DONTWAIT); };
  const auto hooked_recv = [&] { recv_(fd, buffer, sizeof buffer, MSG_DONTWAIT); };
  const auto direct_alloc = [&] { void* p = real_malloc(64); asm volatile("" : : "r"(p) : "memory"); real_free(p); };
  const auto hooked_alloc = [&] { void* p = malloc_(64); asm volatile("" : : "r"(p) : "memory"); free_(p); };
  std::puts("| call | direct ns | added ns | quartiles | reach |\n|---|---|---|---|---|");
  row("A/A: recv (EAGAIN)", compare(direct_recv, direct_recv), "0");
  row("idle: write to /dev/null", compare(hooked_write, direct_write), "≤ +2");
  row("idle: recv (EAGAIN)", compare(hooked_recv, direct_recv), "≤ +2");
  row("idle: malloc + free of 64 B", compare(hooked_alloc, direct_alloc), "≤ 1.2×");
  double direct2[9], hooked2[9];
  for (int i = 0; i < 9; ++i) { direct2[i] = two_threads(real_malloc, real_free); hooked2[i] = two_threads(malloc_, free_); }
  std::sort(direct2, direct2 + 9);
  std::sort(hooked2, hooked2 + 9);
  std::printf("| %-46s | %8.1f | %+8.2f | ratio %.2f | ≤ 1.2× |\n", "idle: malloc + free, two threads", direct2[4], hooked2[4] - direct2[4], hooked2[4] / direct2[4]);

  auto id = s.set("latency 10.254.254.254:9 1ms");
  const auto of_files = s.set("observe file:/nowhere/**");  // or write would still be idle
  hooked_recv();
  hooked_write();
  row("armed, connection not matched: recv", compare(hooked_recv, direct_recv), "≤ +5");
  row("armed, not matched: write to /dev/null", compare(hooked_write, direct_write), "≤ +5");
  s.remove(of_files);
  s.remove(id);

  // Sends of one byte: what was sent is taken away between batches.
  int pair[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  const auto drain = [&] {
    char sink[65536];
    while (real_recv(pair[1], sink, sizeof sink, MSG_DONTWAIT) > 0) {}
  };
  const auto real_send = libc<ssize_t (*)(int, const void*, size_t, int)>("send");
  volatile auto send_ = &::send;
  const auto direct_send = [&] { real_send(pair[0], buffer, 1, 0); };
  const auto hooked_send = [&] { send_(pair[0], buffer, 1, 0); };
  id = s.set("error " + here + " ECONNRESET --on recv --probability 0");
  hooked_recv();
  row("a function around recv that does nothing", compare([&] { bare_recv(real_recv, fd, buffer, sizeof buffer, MSG_DONTWAIT); }, direct_recv), "");
  row("matched, trigger says no: recv (counted)", compare(hooked_recv, direct_recv), "≤ +15");
  s.remove(id);
  id = s.set("error " + here + " ECONNRESET --on recv --probability 0.0000000001");
  hooked_recv();
  row("the same, and a draw is made", compare(hooked_recv, direct_recv), "");
  s.remove(id);
  const std::string there = "fd:" + std::to_string(pair[0]);
  row("A/A: send", compare(direct_send, direct_send, 400, 128, drain), "0");
  id = s.set("error " + there + " EPIPE --on send --probability 0");
  hooked_send();
  row("a function around send that does nothing", compare([&] { bare_send(real_send, pair[0], buffer, 1, 0); }, direct_send, 400, 128, drain), "");
  row("matched, trigger says no: send (counted)", compare(hooked_send, direct_send, 400, 128, drain), "≤ +15");
  s.remove(id);
  id = s.set("error " + there + " EPIPE --on send --probability 1%");
  hooked_send();
  row("the same, and in 1 of 100 it fires", compare(hooked_send, direct_send, 400, 128, drain), "");
  std::thread([&] { hooked_send(); }).join();
  row("the same, and another thread used it too", compare(hooked_send, direct_send, 400, 128, drain), "");
  s.remove(id);
  id = s.set("error " + here + " EPIPE --on send");
  const auto fired_send = [&] { send_(fd, buffer, 1, 0); };
  const auto nothing = [] {};
  row("fired error, event recorded: send", compare(fired_send, nothing, 400, 128), "≤ 150");
  s.remove(id);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "--measure") {
    std::atomic<bool> over{false};
    session& s = session::of_this_process();
    std::thread lease([&] {
      while (!over) { s.renew_lease(); std::this_thread::sleep_for(std::chrono::milliseconds(500)); }
    });
    const int result = measure();
    over = true;
    lease.join();
    return result;
  }
  const temporary_folder folder;
  setenv("CHAOS_DIR", folder.path().c_str(), 1);
  setenv("LD_PRELOAD", CHAOS_LIBRARY, 1);
  const pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", argv[0], "--measure", nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
