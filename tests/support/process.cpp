#include "process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

extern char** environ;

namespace chaos::testing_support {

using clock = std::chrono::steady_clock;

environment under_shim(const std::string& base) {
  return {std::string("LD_PRELOAD=") + library, "CHAOS_DIR=" + base, "CHAOS_SESSION", "CHAOS_RUN"};
}
environment natively() { return {"LD_PRELOAD", "CHAOS_DIR", "CHAOS_SESSION", "CHAOS_RUN"}; }

program::program(const std::vector<std::string>& words, const environment& changes, bool only) {
  environment all;
  const auto name_of = [](const std::string& s) { return s.substr(0, s.find('=')); };
  for (char** e = environ; !only && *e; ++e) {
    bool changed = false;
    for (const auto& c : changes) changed |= name_of(c) == name_of(*e);
    if (!changed) all.emplace_back(*e);
  }
  for (const auto& c : changes)
    if (c.find('=') != std::string::npos) all.push_back(c);
  std::vector<char*> argv, envp;
  for (const auto& w : words) argv.push_back(const_cast<char*>(w.c_str()));
  for (const auto& e : all) envp.push_back(const_cast<char*>(e.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) return;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  pid_t made = -1;
  if (posix_spawnp(&made, argv[0], &actions, nullptr, argv.data(), envp.data()) == 0) pid_ = made;
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  close(err[1]);
  in_ = in[1];
  out_ = out[0];
  err_ = err[0];
}

program::~program() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  for (int fd : {in_, out_, err_})
    if (fd >= 0) close(fd);
}

void program::send(const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = write(in_, text.data() + done, text.size() - done);
    if (n <= 0) return;
    done += static_cast<std::size_t>(n);
  }
}

// False when both of its outputs are at their end.
bool program::pull(int timeout_ms) {
  pollfd p[2] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
  if (out_ < 0 && err_ < 0) return false;
  if (poll(p, 2, timeout_ms) <= 0) return true;
  const auto take = [](int& fd, std::string& into) {
    char buffer[4096];
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n > 0) into.append(buffer, static_cast<std::size_t>(n));
    if (n == 0) {
      close(fd);
      fd = -1;
    }
  };
  if (p[0].revents) take(out_, text_);
  if (p[1].revents) take(err_, errors_);
  return out_ >= 0 || err_ >= 0;
}

std::string program::line(std::chrono::milliseconds patience) {
  const auto deadline = clock::now() + patience;
  for (;;) {
    if (const auto end = text_.find('\n'); end != std::string::npos) {
      std::string one = text_.substr(0, end);
      text_.erase(0, end + 1);
      return one;
    }
    if (clock::now() > deadline || !pull(20)) return "";
  }
}

outcome program::finish(std::chrono::milliseconds patience) {
  outcome o;
  o.pid = pid_;
  if (pid_ < 0) return o;
  if (in_ >= 0) close(in_);
  in_ = -1;
  const auto deadline = clock::now() + patience;
  int status = 0;
  for (;;) {
    const bool open = pull(10);
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) break;
    if (!open) usleep(1000);
    if (clock::now() > deadline) {
      o.killed = true;
      kill(pid_, SIGKILL);
      waitpid(pid_, &status, 0);
      break;
    }
  }
  while (pull(0)) {  // what it left in the pipes; a grandchild may hold them open
    pollfd p[2] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
    if (poll(p, 2, 0) <= 0) break;
  }
  o.status = o.killed ? -1 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  pid_ = -1;
  o.out = text_;
  o.err = errors_;
  return o;
}

}  // namespace chaos::testing_support
