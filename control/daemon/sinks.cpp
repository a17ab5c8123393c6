#include "sinks.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace chaos::daemon {

namespace {

union any_address {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

socklen_t loopback(int family, any_address& a) {
  a = {};
  if (family == AF_INET) {
    a.v4.sin_family = AF_INET;
    a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof a.v4;
  }
  a.v6 = {};
  a.v6.sin6_family = AF_INET6;
  a.v6.sin6_addr = in6addr_loopback;
  return sizeof a.v6;
}

// A TCP socket bound to a free loopback port, or -1.
int bound(int family, any_address& at, socklen_t& n) {
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  n = loopback(family, at);
  if (bind(fd, &at.any, n) == 0 && getsockname(fd, &at.any, &n) == 0) return fd;
  close(fd);
  return -1;
}

std::uint16_t port_of(const any_address& a) { return ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port); }

}  // namespace

std::uint16_t sinks::refuse(int family) {
  any_address at;
  socklen_t n = 0;
  const int fd = bound(family, at, n);
  if (fd < 0) return 0;
  held_.push_back(fd);
  return port_of(at);
}

std::uint16_t sinks::blackhole(int family) {
  any_address at;
  socklen_t n = 0;
  const int fd = bound(family, at, n);
  if (fd < 0) return 0;
  held_.push_back(fd);
  if (listen(fd, 0) < 0) return 0;
  for (int i = 0; i < 8; ++i) {
    const int filler = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (filler < 0) return 0;
    const bool through = connect(filler, &at.any, n) == 0;
    pollfd wait{filler, POLLOUT, 0};
    if (!through && errno == EINPROGRESS && poll(&wait, 1, 10) == 0) {
      close(filler);  // this SYN was dropped: the backlog is full
      return port_of(at);
    }
    held_.push_back(filler);
  }
  return 0;
}

sinks::sinks() {
  ports_.refuse_v4 = refuse(AF_INET);
  ports_.refuse_v6 = refuse(AF_INET6);
  ports_.blackhole_v4 = blackhole(AF_INET);
  ports_.blackhole_v6 = blackhole(AF_INET6);
}

sinks::~sinks() {
  for (const int fd : held_) close(fd);
}

}  // namespace chaos::daemon
