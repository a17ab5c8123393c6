#include "input.hpp"

#include <signal.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "control/rules/values.hpp"

namespace chaos::cli {

using rules::problem;
using rules::problem_code;
using rules::result;

result<std::string> read_input(const std::string& path) {
  std::ostringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
    return text.str();
  }
  const auto can_not = [&](int error) { return problem{problem_code::failed, "can not read " + path + ": " + std::strerror(error), path, {}}; };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return can_not(EISDIR);
  std::ifstream in(path, std::ios::binary);
  if (!in.is_open()) return can_not(errno);
  text << in.rdbuf();
  if (text.bad()) return can_not(errno);
  return text.str();
}

problem in_file(const std::string& path, std::string_view text, problem p) {
  constexpr std::string_view on = "line ";
  p.line = "";
  if (p.message.starts_with(on))
    for (long left = std::strtol(p.message.c_str() + on.size(), nullptr, 10); left > 0; --left) {
      const auto end = text.find('\n');
      if (left == 1) p.line = rules::trimmed(text.substr(0, end));
      text.remove_prefix(end == text.npos ? text.size() : end + 1);
    }
  p.message = (path == "-" ? "standard input" : path) + (p.message.starts_with(on) ? ", " : ": ") + p.message;
  return p;
}

const std::atomic<int>& caught_signal() {
  static std::atomic<int> caught{0};
  static const bool once = [] {
    struct sigaction action{};
    action.sa_handler = [](int s) { caught = s; };
    for (const int s : {SIGINT, SIGTERM, SIGHUP}) sigaction(s, &action, nullptr);
    return true;
  }();
  static_cast<void>(once);
  return caught;
}

}  // namespace chaos::cli
