// slow_close in programs that must not sleep: the descriptor goes to chaosd by SCM_RIGHTS, over a datagram socket in the
// session folder, and is closed there when its time has come. When chaosd dies the kernel closes it.
#pragma once
#include <cstdint>

namespace chaos::abi {

inline constexpr const char closing_socket_name[] = "closing.sock";

struct closing_order {
  std::uint32_t version;   // abi_version
  std::uint32_t rule;      // whose delay it is: closed at once when it is no longer in force
  std::uint64_t due_ns;    // CLOCK_MONOTONIC
  std::int32_t how;        // SHUT_WR, SHUT_RDWR: shut down first; -1: closed alone
  std::uint32_t reserved;
};

}  // namespace chaos::abi
