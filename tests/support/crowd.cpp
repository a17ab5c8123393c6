// A crowd of clients in one process and one thread: so many connections that ask the same question in turn, a few at a time,
// and one more from 127.0.0.2 that asks beside them, for which there may be a fault. For each line `MS` on standard input it
// asks for that long, and says what the answers took:
//   crowd PORT CONNECTIONS IN_FLIGHT QUESTION END      (END: what an answer ends with; \r and \n as in C)
//   answers N p50_us N p99_us N slow_answers N slow_min_us N
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "waiting.hpp"

namespace {

using chaos::testing_support::monotonic_ns;

constexpr std::uint64_t slow_pause_ns = 5'000'000;  // between two questions of the one

std::string unescaped(std::string s) {
  for (const auto& [text, byte] : {std::pair{"\\r", '\r'}, {"\\n", '\n'}})
    for (std::size_t at; (at = s.find(text)) != std::string::npos;) s.replace(at, 2, 1, byte);
  return s;
}

struct client {
  int fd = -1;
  std::uint64_t asked_ns = 0;  // 0: waits for nothing
  std::string got;
};

class crowd {
 public:
  crowd(int port, std::size_t many, std::string question, std::string end) : question_(std::move(question)), end_(std::move(end)) {
    for (std::size_t i = 0; i <= many; ++i) {
      client& c = all_.emplace_back();
      c.fd = connected(port, i == 0 ? 2 : 1);
      ask(c);  // so that it was accepted before the next one comes
      while (!answered(c)) {}
      c.asked_ns = 0;
      epoll_event e{};
      e.events = EPOLLIN;
      e.data.u64 = i;
      epoll_ctl(set_, EPOLL_CTL_ADD, c.fd, &e);
    }
  }

  void run(std::uint64_t ns, std::size_t in_flight) {
    std::vector<std::uint64_t> took;
    std::uint64_t slow_min = ~std::uint64_t{0}, slow_answers = 0, slow_next = 0;
    const std::uint64_t end = monotonic_ns() + ns;
    std::size_t waiting = 0;
    for (std::uint64_t now; (now = monotonic_ns()) < end || waiting || all_[0].asked_ns;) {
      if (now < end) {
        for (; waiting < in_flight; ++waiting) ask(next());
        if (!all_[0].asked_ns && now >= slow_next) ask(all_[0]);
      }
      epoll_event e[64];
      const int n = epoll_wait(set_, e, 64, 5);
      for (int i = 0; i < n; ++i) {
        client& c = all_[e[i].data.u64];
        if (!answered(c)) continue;
        const std::uint64_t here = monotonic_ns(), one = here - c.asked_ns;
        c.asked_ns = 0;
        if (e[i].data.u64 == 0) {
          ++slow_answers;
          slow_min = std::min(slow_min, one);
          slow_next = here + slow_pause_ns;
        } else {
          took.push_back(one);
          --waiting;
        }
      }
    }
    std::sort(took.begin(), took.end());
    std::printf("answers %zu p50_us %llu p99_us %llu slow_answers %llu slow_min_us %llu\n", took.size(), us(took[took.size() / 2]),
                us(took[took.size() * 99 / 100]), static_cast<unsigned long long>(slow_answers), us(slow_min));
    std::fflush(stdout);
  }

 private:
  static unsigned long long us(std::uint64_t ns) { return ns / 1000; }
  static int connected(int port, int host) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    sockaddr_in from{}, to{};
    from.sin_family = to.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + static_cast<unsigned>(host));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    if (bind(fd, reinterpret_cast<sockaddr*>(&from), sizeof from) != 0 || connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
      throw std::runtime_error("can not connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
  }
  client& next() {
    do turn_ = turn_ % (all_.size() - 1) + 1;
    while (all_[turn_].asked_ns);
    return all_[turn_];
  }
  void ask(client& c) {
    c.asked_ns = monotonic_ns();
    if (send(c.fd, question_.data(), question_.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(question_.size())) throw std::runtime_error("can not ask");
  }
  bool answered(client& c) {
    char b[4096];
    const ssize_t n = recv(c.fd, b, sizeof b, 0);
    if (n <= 0) throw std::runtime_error("the server closed a connection");
    c.got.append(b, static_cast<std::size_t>(n));
    if (!c.got.ends_with(end_)) return false;
    c.got.clear();
    return true;
  }

  std::string question_, end_;
  int set_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<client> all_;  // the first is the one from 127.0.0.2
  std::size_t turn_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  try {
    crowd c(std::atoi(argv[1]), std::strtoul(argv[2], nullptr, 10), unescaped(argv[4]), unescaped(argv[5]));
    std::puts("ready");
    std::fflush(stdout);
    char line[32];
    while (std::fgets(line, sizeof line, stdin)) c.run(std::strtoull(line, nullptr, 10) * 1'000'000, std::strtoul(argv[3], nullptr, 10));
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "crowd: %s\n", problem.what());
    return 1;
  }
}
