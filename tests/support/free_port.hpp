// A port that nobody else gets before it is listened on, as tests/e2e/harness.py takes them.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>

namespace chaos_test {

// Below the ports that the kernel gives to outgoing connections, and taken by an abstract socket of its name, which is held as long
// as this process lives.
inline int free_port() {
  const auto binds = [](int family, int type, const void* address, socklen_t size) {
    const int fd = socket(family, type | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, static_cast<const sockaddr*>(address), size) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
  };
  int above = 0;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> above;
  std::random_device chance;
  for (int left = 1000; left > 0; --left) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<in_port_t>(std::uniform_int_distribution(10000, above > 12000 && above < 32768 ? above - 1 : 32767)(chance)));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    const std::string text = "chaos-test-port-" + std::to_string(ntohs(a.sin_port));
    std::memcpy(name.sun_path + 1, text.data(), text.size());
    const int taken = binds(AF_UNIX, SOCK_STREAM, &name, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size()));
    if (taken < 0) continue;
    const int there = binds(AF_INET, SOCK_STREAM, &a, sizeof a);
    if (there >= 0) {
      close(there);
      return ntohs(a.sin_port);
    }
    close(taken);
  }
  throw std::runtime_error("no free port");
}

}  // namespace chaos_test
