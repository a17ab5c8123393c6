#include "output_file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "control/schedule/files.hpp"

namespace chaos::cli {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

bool is_a_file(const std::filesystem::path& path) {
  std::error_code none;
  const auto there = std::filesystem::status(path, none);
  if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there)) return false;
  for (const std::string_view already_open : {"/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/"})  // may be a file that others write, too
    if (path.string().starts_with(already_open)) return false;
  return true;
}

std::filesystem::path behind_links(const std::string& path) {
  std::error_code none;
  return std::filesystem::weakly_canonical(std::filesystem::absolute(path, none), none);
}

problem can_not(const std::string& path, int error) { return {problem_code::failed, "can not write " + path + ": " + std::strerror(error), path, {}}; }

result<done> write_through(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::app);
  out << text;
  out.flush();
  if (!out) return can_not(path, errno);
  return done{};
}

}  // namespace

int why_not_writable(const std::string& path) {
  std::error_code none;
  if (std::filesystem::is_directory(path, none)) return EISDIR;
  if (std::filesystem::exists(path, none) && access(path.c_str(), W_OK) != 0) return errno;
  if (!is_a_file(path)) return 0;
  const auto folder = behind_links(path).parent_path();
  return access(folder.c_str(), W_OK | X_OK) == 0 ? 0 : errno;
}

result<done> write_output(const std::string& path, const std::string& text) {
  if (const int error = why_not_writable(path)) return can_not(path, error);
  if (!is_a_file(path)) return write_through(path, text);
  auto written = schedule::replace_file(behind_links(path), text);
  if (written) return written;
  problem p = written.error();
  p.word = path;
  return p;
}

}  // namespace chaos::cli
