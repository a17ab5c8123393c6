#include "closing.hpp"

#include <string.h>
#include <sys/un.h>

#include "chaos/abi/closing.hpp"
#include "chaos/abi/rule_page.hpp"
#include "syscalls.hpp"

namespace chaos {
namespace {

constinit sockaddr_un closing_socket{};

// A registration belongs to the open file, which lives on in chaosd: without this the program would be told of a descriptor
// that it has closed.
void leave_epoll_sets(int fd) {
  const int folder = sys::open_file("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) {
    for (int set = 0; set < 1024; ++set) sys::call(SYS_epoll_ctl, set, EPOLL_CTL_DEL, fd, nullptr);
    return;
  }
  struct entry { std::uint64_t inode; std::int64_t offset; unsigned short length; unsigned char type; char name[1]; };
  alignas(entry) char buffer[4096];
  for (long n; (n = sys::call(SYS_getdents64, folder, buffer, sizeof buffer)) > 0;)
    for (long at = 0; at < n;) {
      const auto* e = reinterpret_cast<const entry*>(buffer + at);
      int set = 0;
      for (const char* p = e->name; *p >= '0' && *p <= '9'; ++p) set = set * 10 + (*p - '0');
      if (e->name[0] != '.') sys::call(SYS_epoll_ctl, set, EPOLL_CTL_DEL, fd, nullptr);  // EINVAL for what is no epoll set
      at += e->length;
    }
  sys::close_fd(folder);
}

}  // namespace

void closing_socket_is(const char* path) {
  const std::size_t n = strlen(path);
  if (n >= sizeof closing_socket.sun_path) return;
  memcpy(closing_socket.sun_path, path, n + 1);
  closing_socket.sun_family = AF_UNIX;
}

bool close_later(int fd, std::uint32_t rule, std::uint64_t due_ns, int how) {
  if (!closing_socket.sun_family) return false;
  const int s = static_cast<int>(sys::call(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (s < 0) return false;
  abi::closing_order order{abi::abi_version, rule, due_ns, how, 0};
  iovec part{&order, sizeof order};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m{};
  m.msg_name = &closing_socket;
  m.msg_namelen = sizeof closing_socket;
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  const bool taken = sys::call(SYS_sendmsg, s, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<long>(sizeof order);
  sys::close_fd(s);
  if (taken && how < 0) leave_epoll_sets(fd);
  return taken;
}

}  // namespace chaos
