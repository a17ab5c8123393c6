// Connects; sends and waits for a text if the plan says so.
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "probe.hpp"

namespace chaos::experiment {

namespace {

constexpr std::size_t answer_max = 1 << 20;

int left_ms(steady::time_point deadline) {
  return static_cast<int>(std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(deadline - steady::now()).count()));
}

bool wait_for(int fd, short events, steady::time_point deadline) {
  for (;;) {
    pollfd p{fd, events, 0};
    const int n = poll(&p, 1, left_ms(deadline));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

struct descriptor {
  int fd = -1;
  ~descriptor() {
    if (fd >= 0) close(fd);
  }
};

class tcp_probe final : public probe {
 public:
  explicit tcp_probe(const probe_plan& p) : plan_(p) {}

  void ask(std::uint64_t, steady::time_point deadline, sample& into) override { into.failure = outcome(deadline); }

 private:
  failure outcome(steady::time_point deadline) {
    addrinfo how{}, *found = nullptr;
    how.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(plan_.host.c_str(), std::to_string(plan_.port).c_str(), &how, &found) != 0) return not_connected;
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
    failure why = not_connected;
    for (const addrinfo* a = found; a; a = a->ai_next) {
      descriptor s{socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
      if (s.fd < 0) return failed;
      if (connect(s.fd, a->ai_addr, a->ai_addrlen) != 0) {
        if (errno != EINPROGRESS) continue;
        if (!wait_for(s.fd, POLLOUT, deadline)) return timed_out;
        int error = 0;
        socklen_t size = sizeof error;
        if (getsockopt(s.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) continue;
      }
      return converse(s.fd, deadline);
    }
    return why;
  }

  failure converse(int fd, steady::time_point deadline) {
    for (std::size_t sent = 0; sent < plan_.send.size();) {
      const ssize_t n = send(fd, plan_.send.data() + sent, plan_.send.size() - sent, MSG_NOSIGNAL);
      if (n > 0) sent += static_cast<std::size_t>(n);
      else if (n < 0 && errno == EINTR) continue;
      else if (n < 0 && errno == EAGAIN) {
        if (!wait_for(fd, POLLOUT, deadline)) return timed_out;
      } else return cut_off;
    }
    std::string got;
    while (!plan_.expect.empty() && got.find(plan_.expect) == std::string::npos) {
      if (got.size() > answer_max) return wrong_answer;
      char chunk[4096];
      const ssize_t n = recv(fd, chunk, sizeof chunk, 0);
      if (n > 0) got.append(chunk, static_cast<std::size_t>(n));
      else if (n == 0) return got.empty() ? cut_off : wrong_answer;
      else if (errno == EINTR) continue;
      else if (errno != EAGAIN) return cut_off;
      else if (!wait_for(fd, POLLIN, deadline)) return got.empty() ? timed_out : wrong_answer;
    }
    return none;
  }
  const probe_plan& plan_;
};

}  // namespace

std::unique_ptr<probe> make_tcp_probe(const probe_plan& p) { return std::make_unique<tcp_probe>(p); }

}  // namespace chaos::experiment
