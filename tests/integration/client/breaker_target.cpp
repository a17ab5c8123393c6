// A target for the tests under the shim: threads that ask a server through a breaker over plain blocking sockets,
// with no time-out of their own, so that an injected hang really hangs. Prints each transition, and counters when
// asked.
//
//   breaker_target PORT THREADS RECOVERY_MS     (its end ends the program; a line on stdin asks for the counters, of
//   `hold` before no call is in flight and no further one begins, of `go` then they begin again)
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "chaos/breaker.hpp"

namespace {

class connection {
 public:
  explicit connection(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<std::uint16_t>(port));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) fail("connect");
  }
  ~connection() { close(fd_); }
  void ping() {
    char answer[16];
    if (send(fd_, "PING\r\n", 6, MSG_NOSIGNAL) != 6) fail("send");
    if (recv(fd_, answer, sizeof answer, 0) != 7) fail("recv");
  }

 private:
  [[noreturn]] void fail(const char* what) {
    const int number = errno;
    close(fd_);
    fd_ = -1;
    throw std::system_error(number, std::generic_category(), what);
  }
  int fd_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int port = std::atoi(argv[1]), threads = std::atoi(argv[2]);
  const std::chrono::milliseconds recovery(std::atoi(argv[3]));
  chaos::breaker b("target", {.failure_threshold = 5,
                              .failure_rate = 0,
                              .recovery_timeout = recovery,
                              .half_open_permits = 1,
                              .success_threshold = 1});
  auto s = b.on_transition([](const chaos::transition& t) {
    std::printf("%s -> %s (%s)\n", to_string(t.from), to_string(t.to), to_string(t.reason));
    std::fflush(stdout);
  });
  std::atomic<bool> held{false};
  std::shared_mutex calls;  // shared by those in flight
  for (int t = 0; t < threads; ++t)
    std::thread([&] {
      for (;; std::this_thread::sleep_for(std::chrono::milliseconds(1))) {
        const std::shared_lock in_flight(calls);
        if (!held) (void)b.call([&] { connection(port).ping(); });
      }
    }).detach();
  char line[64];
  while (std::fgets(line, sizeof line, stdin)) {
    if (std::strcmp(line, "hold\n") == 0) {
      held = true;
      calls.lock();  // those in flight have ended
      calls.unlock();
    } else if (std::strcmp(line, "go\n") == 0) {
      held = false;
    }
    const auto m = b.metrics();
    std::printf("ok %llu failed %llu rejected %llu late %llu state %s\n",
                static_cast<unsigned long long>(m.successful), static_cast<unsigned long long>(m.failed),
                static_cast<unsigned long long>(m.not_permitted), static_cast<unsigned long long>(m.late_results),
                to_string(m.state));
    std::fflush(stdout);
  }
  _exit(0);  // threads may hang in a call
}
