// Where chaosd sends connects that do not arrive: a port where nobody listens, and a listener whose backlog is full.
#pragma once
#include "gate.hpp"

#include <vector>

namespace chaos::gate {

struct sinks {
  unique_fd refuse{socket(AF_INET, SOCK_STREAM, 0)}, hole{socket(AF_INET, SOCK_STREAM, 0)};
  std::vector<unique_fd> filling;
  explicit sinks(session& s) {
    const sockaddr_in any = loopback(0);
    bind(refuse, generic(any), sizeof any);  // bound and not listening
    bind(hole, generic(any), sizeof any);
    listen(hole, 0);
    for (int i = 0; i < 3; ++i) {
      filling.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
      const sockaddr_in to = loopback(port_of(hole));
      connect(filling.back(), generic(to), sizeof to);
    }
    s.sinks({port_of(refuse), 0, port_of(hole), 0});
  }
};

}  // namespace chaos::gate
