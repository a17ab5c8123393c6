// What the control tests share: a session in a folder of their own, files, waiting with a deadline.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "control/protocol/session_folder.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/waiting.hpp"

namespace chaos::testing_support {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

// The session in a folder, its own folder made.
inline protocol::session_location session_in(const temporary_folder& folder) {
  const auto where = protocol::locate_session(folder.path(), "default");
  EXPECT_TRUE(where);
  EXPECT_TRUE(protocol::make_session(*where));
  return *where;
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace chaos::testing_support
