// A connected pair over each transport that a rule can name: `near` is the program's, which a rule for `target` hits; `far`
// is a peer without the shim (a unix socket has the same path at both ends), which tells and hears past the hooks.
#pragma once
#include "gate.hpp"

#include <sys/syscall.h>

#include <vector>

namespace chaos::gate {

enum class over { tcp, tcp6, udp, udp6, unix_stream, unix_seqpacket, unix_datagram };

// Some containers have no ::1.
inline bool has_v6() {
  const unique_fd fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in6 any = loopback_v6(0);
  return bind(fd, generic(any), sizeof any) == 0;
}
inline const std::vector<over> all_transports = [] {
  std::vector<over> all = {over::tcp, over::udp, over::unix_stream, over::unix_seqpacket, over::unix_datagram};
  if (has_v6()) all.insert(all.end(), {over::tcp6, over::udp6});
  return all;
}();

inline std::string name_of(over o) {
  const char* const names[] = {"tcp", "tcp6", "udp", "udp6", "unix_stream", "unix_seqpacket", "unix_datagram"};
  return names[static_cast<int>(o)];
}
inline bool is_tcp(over o) { return o == over::tcp || o == over::tcp6; }
inline bool is_stream(over o) { return is_tcp(o) || o == over::unix_stream; }

struct channel {
  over transport;
  unique_fd near, far, listening;
  std::string target;
  temporary_folder folder;

  explicit channel(over o) : transport(o) {
    switch (o) {
      case over::tcp: {
        tcp_pair p;
        take(p);
        listening = std::move(p.service.fd);
        break;
      }
      case over::udp: {
        udp_pair p;
        take(p);
        break;
      }
      case over::tcp6: {
        listening = bound_v6(SOCK_STREAM);
        listen(listening, 8);
        near = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        join_v6(near, listening);
        far = accept(listening, nullptr, nullptr);
        const int on = 1;
        for (const int fd : {static_cast<int>(near), static_cast<int>(far)}) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        target = "[::1]:" + std::to_string(port_of(listening));
        break;
      }
      case over::udp6: {
        near = bound_v6(SOCK_DGRAM);
        far = bound_v6(SOCK_DGRAM);
        join_v6(near, far);
        join_v6(far, near);
        target = "udp://[::1]:" + std::to_string(port_of(far));
        break;
      }
      case over::unix_stream:
      case over::unix_seqpacket: {
        unix_pair p(folder.path(), o == over::unix_stream ? SOCK_STREAM : SOCK_SEQPACKET);
        take(p);
        break;
      }
      case over::unix_datagram: {
        near = bound("near");
        far = bound("far");
        join(near, "far");
        join(far, "near");
        target = "unix:" + folder.path() + "/far";
        break;
      }
    }
  }

  void tell(const std::string& text) {
    ASSERT_EQ(syscall(SYS_sendto, far.operator int(), text.data(), text.size(), MSG_NOSIGNAL, nullptr, 0), static_cast<long>(text.size()));
  }
  // What came: `n` bytes, or less at the end; of datagrams one.
  std::string hear(std::size_t n) {
    std::string got(n, 0);
    std::size_t have = 0;
    while (have < n) {
      const long r = syscall(SYS_recvfrom, far.operator int(), got.data() + have, n - have, 0, nullptr, nullptr);
      if (r <= 0) break;
      have += static_cast<std::size_t>(r);
      if (!is_stream(transport)) break;
    }
    got.resize(have);
    return got;
  }

 private:
  template <class Pair>
  void take(Pair& p) {
    target = p.target();
    near = std::move(p.near);
    far = std::move(p.far);
  }
  sockaddr_un address(const char* name) const {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    std::strncpy(a.sun_path, (folder.path() + "/" + name).c_str(), sizeof a.sun_path - 1);
    return a;
  }
  unique_fd bound(const char* name) const {
    unique_fd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const sockaddr_un a = address(name);
    EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
    return fd;
  }
  static unique_fd bound_v6(int type) {
    unique_fd fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
    const sockaddr_in6 any = loopback_v6(0);
    EXPECT_EQ(bind(fd, generic(any), sizeof any), 0);
    return fd;
  }
  static void join_v6(int fd, int to) {
    const sockaddr_in6 a = loopback_v6(port_of(to));
    EXPECT_EQ(connect(fd, generic(a), sizeof a), 0);
  }
  void join(int fd, const char* name) const {
    const sockaddr_un a = address(name);
    EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
  }
};

}  // namespace chaos::gate
