// The ways in which a program waits for a descriptor: in the call itself, or in an event loop that keeps its registration.
#pragma once
#include "gate.hpp"

#include <vector>

namespace chaos::gate {

enum class way { blocking, poll, select, epoll_level, epoll_edge, epoll_oneshot };
inline constexpr way all_ways[] = {way::blocking, way::poll, way::select, way::epoll_level, way::epoll_edge, way::epoll_oneshot};

inline std::string name_of(way w) {
  const char* const names[] = {"blocking", "poll", "select", "epoll_level", "epoll_edge", "epoll_oneshot"};
  return names[static_cast<int>(w)];
}

// Makes the descriptor what the way needs (non-blocking), and tells when it is ready for `events` (EPOLLIN or EPOLLOUT).
class waiter {
 public:
  waiter(int fd, way how, std::uint32_t events = EPOLLIN) : fd_(fd), how_(how), events_(events) {
    if (how != way::blocking) set_nonblocking(fd);
    if (!epolls()) return;
    set_ = epoll_create1(0);
    epoll_event e = wish();
    epoll_ctl(set_, EPOLL_CTL_ADD, fd, &e);
  }
  bool ready(int patience_ms = 5000) {
    const bool in = events_ & EPOLLIN;
    switch (how_) {
      case way::blocking: return true;
      case way::poll: {
        pollfd p{fd_, static_cast<short>(in ? POLLIN : POLLOUT), 0};
        return ::poll(&p, 1, patience_ms) == 1;
      }
      case way::select: {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(fd_, &set);
        timeval t{patience_ms / 1000, patience_ms % 1000 * 1000};
        return ::select(fd_ + 1, in ? &set : nullptr, in ? nullptr : &set, nullptr, &t) == 1;
      }
      default: {
        epoll_event e;
        return epoll_wait(set_, &e, 1, patience_ms) == 1;
      }
    }
  }
  // Readiness was used up; a oneshot registration is made anew.
  void again() {
    if (how_ != way::epoll_oneshot) return;
    epoll_event e = wish();
    epoll_ctl(set_, EPOLL_CTL_MOD, fd_, &e);
  }

 private:
  bool epolls() const { return how_ >= way::epoll_level; }
  epoll_event wish() const {
    epoll_event e{};
    e.events = events_ | (how_ == way::epoll_edge ? static_cast<std::uint32_t>(EPOLLET) : 0) |
               (how_ == way::epoll_oneshot ? static_cast<std::uint32_t>(EPOLLONESHOT) : 0);
    e.data.fd = fd_;
    return e;
  }
  int fd_;
  way how_;
  std::uint32_t events_;
  unique_fd set_;
};

// Reads until `n` bytes have come (or one datagram, the end, or an error), as a program of that way does.
inline std::string read_by(int fd, way how, std::size_t n, bool datagram = false) {
  waiter w(fd, how);
  std::string got;
  const double deadline = monotonic_ms() + 10'000;
  while (got.size() < n && monotonic_ms() < deadline && w.ready()) {
    ssize_t r;
    do {
      char b[4096];
      r = recv(fd, b, std::min(sizeof b, n - got.size()), 0);
      if (r > 0) got.append(b, static_cast<std::size_t>(r));
    } while (r > 0 && how == way::epoll_edge && got.size() < n);  // an edge is told once
    if (r == 0 || (r < 0 && errno != EAGAIN) || (r > 0 && datagram)) break;
    w.again();
  }
  return got;
}

// Writes all of it.
inline bool write_by(int fd, way how, const std::string& text) {
  waiter w(fd, how, EPOLLOUT);
  const double deadline = monotonic_ms() + 10'000;
  for (std::size_t done = 0; done < text.size();) {
    if (monotonic_ms() > deadline || !w.ready()) return false;
    ssize_t r;
    do {
      r = send(fd, text.data() + done, text.size() - done, MSG_NOSIGNAL);
      if (r > 0) done += static_cast<std::size_t>(r);
    } while ((r > 0 && how == way::epoll_edge && done < text.size()) || (r < 0 && errno == EINTR));
    if (r < 0 && errno != EAGAIN) return false;
    w.again();
  }
  return true;
}

}  // namespace chaos::gate
