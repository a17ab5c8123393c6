// A server whose answer never ends: after its beginning a piece every few milliseconds, until the client goes.
#pragma once
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace chaos::testing_support {

class dripping_server {
 public:
  dripping_server(std::string beginning, std::string piece) : beginning_(std::move(beginning)), piece_(std::move(piece)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof here;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&here), size) == 0 && listen(listener_, 64) == 0 && getsockname(listener_, reinterpret_cast<sockaddr*>(&here), &size) == 0)
      port = ntohs(here.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  dripping_server(const dripping_server&) = delete;
  ~dripping_server() {
    over_ = true;
    thread_.join();
    close(listener_);
  }
  int port = 0;

 private:
  void serve() {
    std::vector<int> clients;
    while (!over_) {
      pollfd next{listener_, POLLIN, 0};
      if (poll(&next, 1, 5) > 0) {
        clients.push_back(accept(listener_, nullptr, nullptr));
        send(clients.back(), beginning_.data(), beginning_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      }
      for (const int c : clients) send(c, piece_.data(), piece_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    for (const int c : clients) close(c);
  }
  const std::string beginning_, piece_;
  int listener_ = -1;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace chaos::testing_support
