// A program with breakers for the end-to-end tests: `early` is made by a static initializer, before main; `late` when it
// is asked for. Reads orders from standard input, answers each with one line of JSON {"result":…,"state":…}:
//   NAME ok · NAME fail · NAME state · NAME connect PORT (a call that connects to 127.0.0.1:PORT) · NAME around PORT (the
//   same, but not through the breaker) · NAME twin (one more breaker of that name)
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

#include "chaos/breaker.hpp"

namespace {

const chaos::breaker_settings settings{
    .failure_threshold = 5, .failure_rate = 0, .recovery_timeout = std::chrono::milliseconds(200), .half_open_permits = 1, .success_threshold = 1};
chaos::breaker early("early", settings);

void connect_to(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int failed = connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a);
  close(fd);
  if (failed) throw std::runtime_error("connect");
}

}  // namespace

int main() {
  std::unique_ptr<chaos::breaker> late, twin;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    std::string name, order;
    int port = 0;
    in >> name >> order >> port;
    if (name == "late" && !late) late = std::make_unique<chaos::breaker>("late", settings);
    chaos::breaker& b = name == "late" ? *late : early;
    const char* result = "none";
    if (order == "twin") {
      twin = std::make_unique<chaos::breaker>(name, settings);
    } else if (order == "around") {
      try {
        connect_to(port);
        result = "ok";
      } catch (const std::runtime_error&) {
        result = "failed";
      }
    } else if (order != "state") {
      const auto r = b.call([&] {
        if (order == "fail") throw std::runtime_error("asked for");
        if (order == "connect") connect_to(port);
        return 1;
      });
      result = r.has_value() ? "ok" : r.cause()->kind == chaos::failure_kind::open ? "rejected" : "failed";
    }
    std::cout << "{\"result\":\"" << result << "\",\"state\":\"" << to_string(b.state()) << "\"}" << std::endl;
  }
}
