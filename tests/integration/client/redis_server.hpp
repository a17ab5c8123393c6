// A redis-server of its own for a test: own port, own temporary folder, ended by its process id.
#pragma once
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

#include "chaos/redis/connection.hpp"
#include "tests/support/free_port.hpp"

namespace chaos_test {
using namespace std::chrono_literals;

// Tries until it holds; false after the deadline.
inline bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds at_most = 30s) {
  const auto deadline = std::chrono::steady_clock::now() + at_most;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

class temporary_folder {
 public:
  temporary_folder() {
    std::string name = std::filesystem::temp_directory_path() / "chaos-client-XXXXXX";
    if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    path = name;
  }
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

class redis_server {
 public:
  redis_server() : port(free_port()) { start(); }
  ~redis_server() { stop(); }
  redis_server(const redis_server&) = delete;

  void start() {
    const std::string p = std::to_string(port), dir = folder_.path;
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      execlp("redis-server", "redis-server", "--port", p.c_str(), "--bind", "127.0.0.1", "--dir", dir.c_str(),
             "--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", "redis.log",
             static_cast<char*>(nullptr));
      _exit(127);
    }
    chaos::redis_address a;
    a.port = port;
    const auto answers = [&] {
      try {
        return chaos::detail::redis_connection(a, 1s, 1s).run({{"PING"}})[0].string == "PONG";
      } catch (const std::exception&) {
        return false;
      }
    };
    if (!eventually(answers)) throw std::runtime_error("redis-server does not answer on port " + p);
  }
  void stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  // It stays reachable (the kernel accepts) and answers nothing.
  void hang() { kill(pid_, SIGSTOP); }
  void wake() { kill(pid_, SIGCONT); }
  std::string url() const { return "redis://127.0.0.1:" + std::to_string(port); }

  const int port;

 private:
  temporary_folder folder_;
  pid_t pid_ = -1;
};

}  // namespace chaos_test
