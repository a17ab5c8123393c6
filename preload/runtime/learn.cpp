#include "learn.hpp"

#include <string.h>

#include "chaos/abi/session.hpp"
#include "delay_line.hpp"
#include "thresholds.hpp"

namespace chaos {

int socket_option(int fd, int name) {
  int value = 0;
  socklen_t n = sizeof value;
  return sys::get_option(fd, SOL_SOCKET, name, &value, &n) == 0 ? value : -1;
}

namespace {

void learn_local_port(descriptor& d, int fd) {
  sockaddr_storage a;
  socklen_t n = sizeof a;
  std::uint8_t ignored[16];
  std::uint16_t port = 0;
  if (sys::call(SYS_getsockname, fd, &a, &n) == 0 && parse_address(reinterpret_cast<sockaddr*>(&a), n, ignored, port)) d.local_port = port;
}

// A process that was killed while it held data back leaves its receive threshold on a socket that others share: nobody would
// ever be told of what is there. Learns the program's own on the way.
void lower_stale_threshold(descriptor& d, int fd) {
  const delay_line* line = d.line.load(std::memory_order_acquire);
  int own = line && line->threshold ? line->own_threshold : socket_option(fd, SO_RCVLOWAT);
  if (!(line && line->threshold) && own > 1) {
    if (const int before = thresholds::take_back(d.inode)) sys::set_option(fd, SOL_SOCKET, SO_RCVLOWAT, own = before);
  }
  d.own_threshold = own > 1 ? static_cast<std::uint32_t>(own) : 1;
}

void learn_socket(descriptor& d, int fd) {
  using namespace abi;
  const int domain = socket_option(fd, SO_DOMAIN), type = socket_option(fd, SO_TYPE);
  d.listening = socket_option(fd, SO_ACCEPTCONN) == 1;
  const bool inet = domain == AF_INET || domain == AF_INET6;
  if (inet && type == SOCK_STREAM) d.kind = descriptor_kind::tcp;
  else if (inet && type == SOCK_DGRAM) d.kind = descriptor_kind::udp;
  else if (domain == AF_UNIX && type == SOCK_STREAM) d.kind = descriptor_kind::unix_stream;
  else if (domain == AF_UNIX) d.kind = descriptor_kind::unix_datagram;
  else { d.kind = descriptor_kind::other; d.role = classes::close; return; }
  if ((d.kind == descriptor_kind::tcp && !d.listening) || d.kind == descriptor_kind::unix_stream) lower_stale_threshold(d, fd);
  const bool stream = type == SOCK_STREAM;
  d.role = (stream ? classes::streams : classes::datagrams) | classes::connect | classes::readiness | classes::close | classes::option;
  if (d.listening) d.role = classes::accept | classes::readiness | classes::close | classes::option;
  if (inet) learn_local_port(d, fd);
  if (d.redirected.load(std::memory_order_relaxed)) return;  // the program's own idea of its peer stays
  sockaddr_storage a;
  socklen_t n = sizeof a;
  const bool had = d.has_remote;
  if (sys::call(SYS_getpeername, fd, &a, &n) == 0) {
    if (inet) d.has_remote = parse_address(reinterpret_cast<sockaddr*>(&a), n, d.remote, d.remote_port);
  } else {
    d.has_remote = had && stream;  // still connecting: as told by connect()
  }
  d.per_call = !stream && inet && !d.has_remote;
}

}  // namespace

void learn(descriptor& d, int fd, const struct statx& s) {
  using namespace abi;
  switch (s.stx_mode & S_IFMT) {
    case S_IFSOCK: learn_socket(d, fd); break;
    case S_IFIFO:
      d.kind = descriptor_kind::pipe;
      d.role = classes::streams | classes::readiness | classes::close;
      break;
    case S_IFREG: case S_IFCHR: case S_IFBLK: case S_IFDIR:
      d.kind = descriptor_kind::file;
      d.role = classes::file_io | classes::sync | classes::file_open | classes::close;
      break;
    default: {  // anonymous inodes: sets of epoll, timers, events …
      constexpr char set[] = "anon_inode:[eventpoll]";
      char name[sizeof set] = {};
      abi::path_buffer link;
      link.add("/proc/self/fd/").add(static_cast<std::uint64_t>(fd));
      const bool other = sys::read_link(link.text, name, sizeof name - 1) > 0 && strcmp(name, set) != 0;
      d.kind = other ? descriptor_kind::other : descriptor_kind::epoll;
      d.role = classes::readiness | classes::close;
      break;
    }
  }
}

}  // namespace chaos
