// Connected sockets and files for tests, closed afterwards.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>

namespace chaos::testing_support {

class unique_fd {
 public:
  unique_fd(int fd = -1) : fd_(fd) {}
  unique_fd(unique_fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  unique_fd& operator=(unique_fd&& o) noexcept {
    reset(std::exchange(o.fd_, -1));
    return *this;
  }
  ~unique_fd() { reset(); }
  operator int() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_;
};

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}
inline const sockaddr* generic(const sockaddr_in& a) { return reinterpret_cast<const sockaddr*>(&a); }
inline sockaddr_in6 loopback_v6(std::uint16_t port) {
  sockaddr_in6 a{};
  a.sin6_family = AF_INET6;
  a.sin6_port = htons(port);
  a.sin6_addr = in6addr_loopback;
  return a;
}
inline const sockaddr* generic(const sockaddr_in6& a) { return reinterpret_cast<const sockaddr*>(&a); }
inline std::uint16_t port_of(int fd) {  // it lies at the same place in both
  sockaddr_in6 a{};
  socklen_t n = sizeof a;
  getsockname(fd, reinterpret_cast<sockaddr*>(&a), &n);
  return ntohs(a.sin6_port);
}
inline void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

struct listener {
  unique_fd fd;
  std::uint16_t port;
  explicit listener(int backlog = 64) : fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const sockaddr_in any = loopback(0);
    bind(fd, generic(any), sizeof any);
    listen(fd, backlog);
    port = port_of(fd);
  }
  std::string target() const { return "127.0.0.1:" + std::to_string(port); }
};

// `near` is what a rule for target() hits; `far` is the service.
struct tcp_pair {
  listener service;
  unique_fd near, far;
  tcp_pair() : near(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const sockaddr_in to = loopback(service.port);
    connect(near, generic(to), sizeof to);
    far = accept(service.fd, nullptr, nullptr);
    const int on = 1;
    setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  std::string target() const { return service.target(); }
};

struct udp_pair {
  unique_fd near{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)}, far{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  std::uint16_t port;
  udp_pair() {
    const sockaddr_in any = loopback(0);
    bind(near, generic(any), sizeof any);
    bind(far, generic(any), sizeof any);
    port = port_of(far);
    const sockaddr_in a = loopback(port), b = loopback(port_of(near));
    connect(near, generic(a), sizeof a);
    connect(far, generic(b), sizeof b);
  }
  std::string target() const { return "udp://127.0.0.1:" + std::to_string(port); }
};

struct unix_pair {
  std::string path;
  unique_fd listening, near, far;
  unix_pair(const std::string& folder, int type = SOCK_STREAM) : path(folder + "/socket") {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    std::strncpy(a.sun_path, path.c_str(), sizeof a.sun_path - 1);
    listening = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    bind(listening, reinterpret_cast<sockaddr*>(&a), sizeof a);
    listen(listening, 8);
    near = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    connect(near, reinterpret_cast<sockaddr*>(&a), sizeof a);
    far = accept(listening, nullptr, nullptr);
  }
  ~unix_pair() { unlink(path.c_str()); }
  std::string target() const { return "unix:" + path; }
};

}  // namespace chaos::testing_support
