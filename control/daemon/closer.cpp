#include "closer.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "chaos/abi/rule_page.hpp"

namespace chaos::daemon {

closer::closer(loop& l, std::string path) : loop_(l), path_(std::move(path)), timer_(l, [this] { end_due(); }) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (path_.size() >= sizeof at.sun_path) return;  // targets find nobody there, and close by themselves
  std::memcpy(at.sun_path, path_.c_str(), path_.size() + 1);
  socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  unlink(path_.c_str());
  if (socket_ < 0 || bind(socket_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || !loop_.add(socket_, EPOLLIN, [this](std::uint32_t) { take(); })) {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }
}

closer::~closer() {
  if (socket_ >= 0) {
    loop_.remove(socket_);
    close(socket_);
    unlink(path_.c_str());
  }
  for (const held& h : held_) end(h);
}

void closer::end(const held& h) {
  if (h.order.how == SHUT_WR || h.order.how == SHUT_RDWR) shutdown(h.fd, h.order.how);
  close(h.fd);
}

void closer::take() {
  for (int turn = 0; turn < 64; ++turn) {
    abi::closing_order order{};
    iovec part{&order, sizeof order};
    alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    const ssize_t n = recvmsg(socket_, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0) break;
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      for (std::size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
        held h{order, -1};
        std::memcpy(&h.fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
        const bool good = n == sizeof order && order.version == abi::abi_version && held_.size() < held_max && rules_.count(order.rule);
        if (good) held_.push_back(h);
        else end(h);
      }
    }
  }
  plan();
}

void closer::end_due() {
  const std::uint64_t now = monotonic_ns();
  held_.remove_if([&](const held& h) {
    if (h.order.due_ns > now) return false;
    end(h);
    return true;
  });
  plan();
}

void closer::plan() {
  const auto first = std::min_element(held_.begin(), held_.end(), [](const held& a, const held& b) { return a.order.due_ns < b.order.due_ns; });
  timer_.at(first == held_.end() ? 0 : std::max<std::uint64_t>(first->order.due_ns, 1));
}

void closer::in_force(const std::set<std::uint32_t>& rules) {
  rules_ = rules;
  held_.remove_if([&](const held& h) {
    if (rules_.count(h.order.rule)) return false;
    end(h);
    return true;
  });
  plan();
}

}  // namespace chaos::daemon
