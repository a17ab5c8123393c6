// What the tests of calls with a meaning of their own share.
#pragma once
#include "gate.hpp"

namespace chaos::gate {

using Calls = Gate;

inline void own_threshold(int fd, int n) { ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &n, sizeof n), 0); }
inline void own_timeout(int fd, int option, int ms) {
  const timeval t{ms / 1000, ms % 1000 * 1000};
  ASSERT_EQ(setsockopt(fd, SOL_SOCKET, option, &t, sizeof t), 0);
}
inline std::thread after(int ms, std::function<void()> what) {
  return std::thread([ms, what] {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    what();
  });
}

}  // namespace chaos::gate
