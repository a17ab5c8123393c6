// The loopback endpoints that non-blocking connects are sent to (rule_page::sinks): one that refuses, bound but not
// listening; and one that never answers, a listener whose backlog is full and who never accepts, so that the kernel
// drops every further SYN. For as long as this object lives.
#pragma once
#include <vector>

#include "chaos/abi/rule_page.hpp"

namespace chaos::daemon {

class sinks {
 public:
  sinks();
  ~sinks();
  sinks(const sinks&) = delete;
  sinks& operator=(const sinks&) = delete;
  const abi::sink_ports& ports() const { return ports_; }

 private:
  std::uint16_t refuse(int family);
  std::uint16_t blackhole(int family);

  abi::sink_ports ports_{};
  std::vector<int> held_;
};

}  // namespace chaos::daemon
