#include "shell.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "control/experiment/shell.hpp"

namespace chaos::schedule {

namespace {

std::vector<std::string> environment_with(const variables& more) {
  std::vector<std::string> all;
  for (char** at = environ; *at; ++at) {
    const std::string_view row(*at);
    if (std::ranges::none_of(more, [&](const auto& m) { return row.starts_with(m.first + "="); })) all.emplace_back(row);
  }
  for (const auto& [name, value] : more) all.push_back(name + "=" + value);
  return all;
}

// Input as a file: nobody has to stand by and feed a pipe.
int input_file(const std::string& text) {
  const int fd = memfd_create("input", MFD_CLOEXEC);
  if (fd < 0) return -1;
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = pwrite(fd, text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (n <= 0) break;
    at += static_cast<std::size_t>(n);
  }
  return fd;
}

}  // namespace

std::string shell_outcome::text() const {
  if (timed_out) return "not done within its time";
  return status < 0 ? "it could not be started" : "exit status " + std::to_string(status);
}

shell_outcome run_command(const std::string& command, const variables& more, const std::string& input, std::chrono::nanoseconds timeout) {
  shell_outcome out;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const int in = input_file(input);
  if (in < 0) return out;
  const auto rows = environment_with(more);
  std::vector<char*> environment;
  for (const auto& row : rows) environment.push_back(const_cast<char*>(row.c_str()));
  environment.push_back(nullptr);
  const pid_t child = experiment::spawn_shell(command, environment.data(), in);
  close(in);
  if (child < 0) return out;
  const auto end = experiment::wait_for_shell(child, deadline);
  out.timed_out = !end.in_time;
  out.status = end.status;
  return out;
}

}  // namespace chaos::schedule
