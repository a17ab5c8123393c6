// What the control tests share: a session folder of their own on tmpfs, and waiting with a deadline.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "control/protocol/session_folder.hpp"

namespace chaos::testing_support {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

class temporary_folder {
 public:
  temporary_folder() {
    std::string pattern = "/dev/shm/chaos-test-XXXXXX";
    if (mkdtemp(pattern.data())) path_ = pattern;
  }
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  const std::string& path() const { return path_; }

  // The session in it, its folder made.
  protocol::session_location session() const {
    const auto where = protocol::locate_session(path_, "default");
    EXPECT_TRUE(where);
    EXPECT_TRUE(protocol::make_session(*where));
    return *where;
  }

 private:
  std::string path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

template <class Condition>
bool wait_for(Condition condition, std::chrono::milliseconds patience = std::chrono::seconds(10)) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace chaos::testing_support
