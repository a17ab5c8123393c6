// A name server on loopback that knows one address for every name; the calling thread's resolver asks it, and nobody else.
#pragma once
#include <netdb.h>
#include <poll.h>
#include <resolv.h>

#include <atomic>
#include <thread>

#include "sockets.hpp"

namespace chaos::testing_support {

class name_server {
 public:
  name_server() {
    const sockaddr_in any = loopback(0);
    bind(fd_, generic(any), sizeof any);
    res_init();
    _res.nscount = 1;
    _res.nsaddr_list[0] = loopback(port_of(fd_));
    server_ = std::thread([this] { serve(); });
  }
  ~name_server() {
    over_ = true;
    server_.join();
    res_init();
  }
  int asked() const { return asked_; }

 private:
  void serve() {
    while (!over_) {
      pollfd p{fd_, POLLIN, 0};
      if (poll(&p, 1, 5) != 1) continue;
      unsigned char packet[600];
      sockaddr_in from{};
      socklen_t length = sizeof from;
      ssize_t n = recvfrom(fd_, packet, 512, 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (n < 12) continue;
      ++asked_;
      static constexpr unsigned char answer[] = {0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1};  // the name asked for, A, IN, 1 s
      packet[2] |= 0x80;  // a response
      packet[7] = 1;      // with one answer
      std::memcpy(packet + n, answer, sizeof answer);
      n += static_cast<ssize_t>(sizeof answer);
      sendto(fd_, packet, static_cast<std::size_t>(n), 0, generic(from), length);
    }
  }
  unique_fd fd_{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  std::atomic<bool> over_{false};
  std::atomic<int> asked_{0};
  std::thread server_;
};

}  // namespace chaos::testing_support
