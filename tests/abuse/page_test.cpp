// A rule page that is not what chaosd writes: rules with bytes changed at random, met by the real shim in programs that
// connect, read, write, allocate and look things up. They may see any fault or wait; they must not crash.
#include <netdb.h>
#include <poll.h>
#include <sys/time.h>

#include <cstring>

#include "abuse.hpp"

namespace chaos::abuse {
namespace {

void patch(abi::rule_page& page) {
  abi::rule_bank& bank = page.banks[page.generation.load() % 2];
  const std::size_t bytes = bank.count * sizeof(abi::rule);
  for (std::uint64_t i = 0, n = 1 + chance().below(40); i < n; ++i) {
    const std::uint64_t value = chance().chance(1ull << 31) ? ~0ull : chance().bits();
    const std::size_t length = std::size_t{1} << chance().below(4);
    if (chance().below(8) == 0) std::memcpy(bank.text + chance().below(abi::text_pool_bytes - length), &value, length);
    else std::memcpy(reinterpret_cast<char*>(bank.rules) + chance().below(bytes - length), &value, length);
  }
  if (chance().below(16) == 0) bank.count = static_cast<std::uint32_t>(chance().bits());
  for (abi::rule& r : bank.rules)
    if (r.kind == abi::effect::crash) r.kind = abi::effect::observe;  // that one does what it says
}

void meet_everything(std::uint16_t port) {
  const itimerval patience{{0, 0}, {0, 150'000}};  // a delay of years is a fault like any other
  setitimer(ITIMER_REAL, &patience, nullptr);
  for (int i = 0; i < 3; ++i) {
    const unique_fd fd = socket(AF_INET, SOCK_STREAM | (i % 2 ? SOCK_NONBLOCK : 0), 0);
    const sockaddr_in to = loopback(port);
    char b[2000] = {};
    if (connect(fd, generic(to), sizeof to) == 0 || errno == EINPROGRESS) {
      pollfd p{fd, POLLIN | POLLOUT, 0};
      poll(&p, 1, 5);
      if (send(fd, b, sizeof b, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) errno = 0;
      if (recv(fd, b, sizeof b, MSG_DONTWAIT) < 0) errno = 0;
    }
    udp_pair u;
    if (send(u.far, b, 100, 0) > 0 && recv(u.near, b, sizeof b, MSG_DONTWAIT) < 0) errno = 0;
    const unique_fd file = open("/dev/shm", O_TMPFILE | O_RDWR, 0600);
    if (write(file, b, sizeof b) > 0 && pread(file, b, sizeof b, 0) < 0) errno = 0;
    fsync(file);
    free(realloc(malloc(1000), 100'000));
    if (getenv("HOME")) errno = 0;
    addrinfo* list = nullptr;
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST;
    if (getaddrinfo("127.0.0.1", nullptr, &hints, &list) == 0) freeaddrinfo(list);
  }
}

TEST_F(Abuse, AHostileRulePageCrashesNobody) {
  const listener l(1024);
  abi::rule_page& page = const_cast<abi::rule_page&>(s.page());
  int delayed = 0;
  for (int round = 0; round < scaled(150, 5000); ++round) {
    std::vector<std::uint32_t> ids;
    s.set_all({"latency 127.0.0.0/8 1ms --jitter 1ms --distribution pareto", "error 127.0.0.0/8 ECONNRESET,EPIPE,ETIMEDOUT --probability 50%",
               "corrupt 127.0.0.0/8 10% --direction both", "slicer 127.0.0.0/8 --average-size 3B", "loss 127.0.0.0/8 --model gemodel:1%,10%,70%,0.1%",
               "bandwidth 127.0.0.0/8 1MB/s", "full file:/dev/shm/** 1KB", "io_error file:/dev/shm/** EIO --torn --probability 50%",
               "enomem malloc --size 64KB..", "dns dns:* EAI_AGAIN --probability 50% --everything", "replace env:HOME elsewhere", "duplicate udp://127.0.0.0/8 50%",
               "down 127.0.0.0/8 --how refuse --probability 10%", "limit_data 127.0.0.0/8 100B --probability 30%"}, ids);
    patch(page);
    const pid_t child = fork();
    if (child == 0) {
      for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) signal(number, SIG_DFL);
      meet_everything(l.port);
      _exit(0);
    }
    const int status = exit_status(child);
    if (status == 128 + SIGALRM) ++delayed;
    else EXPECT_EQ(status, 0) << "round " << round;
    s.clear();
  }
  EXPECT_LT(delayed, scaled(150, 5000)) << "most rounds end by themselves";
}

}  // namespace
}  // namespace chaos::abuse
