// Where chaosd sends connects that do not arrive: a port where nobody listens, and a listener whose backlog is full.
#pragma once
#include "gate.hpp"

#include <vector>

namespace chaos::gate {

struct sinks {
  unique_fd refuse{socket(AF_INET, SOCK_STREAM, 0)}, hole{socket(AF_INET, SOCK_STREAM, 0)};
  unique_fd refuse_v6{socket(AF_INET6, SOCK_STREAM, 0)}, hole_v6{socket(AF_INET6, SOCK_STREAM, 0)};
  std::vector<unique_fd> filling;
  explicit sinks(session& s) {
    const bool v4 = dig(refuse, hole, AF_INET, loopback), v6 = dig(refuse_v6, hole_v6, AF_INET6, loopback_v6);
    s.sinks({v4 ? port_of(refuse) : std::uint16_t{0}, v6 ? port_of(refuse_v6) : std::uint16_t{0}, v4 ? port_of(hole) : std::uint16_t{0}, v6 ? port_of(hole_v6) : std::uint16_t{0}});
  }

 private:
  template <class Address>
  bool dig(int closed, int full, int family, Address at) {
    const auto any = at(0);
    if (bind(closed, generic(any), sizeof any) != 0 || bind(full, generic(any), sizeof any) != 0) return false;  // bound and not listening
    listen(full, 0);
    for (int i = 0; i < 3; ++i) {
      filling.emplace_back(socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
      const auto to = at(port_of(full));
      connect(filling.back(), generic(to), sizeof to);
    }
    return true;
  }
};

}  // namespace chaos::gate
