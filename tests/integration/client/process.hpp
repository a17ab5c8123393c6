// A program started by a test and ended by its process id; its output is kept.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

namespace chaos_test {

class process {
 public:
  // `before_exec` runs in the child.
  process(
      const std::vector<std::string>& command, std::filesystem::path output,
      const std::function<void()>& before_exec = [] {})
      : output_(std::move(output)) {
    std::vector<char*> argv;
    for (const auto& a : command) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int fd = open(output_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(fd, 1);
    dup2(fd, 2);
    before_exec();
    execvp(argv[0], argv.data());
    _exit(127);
  }
  process(const process&) = delete;
  ~process() { end(SIGKILL); }

  // Exit code, or -signal.
  int wait() {
    if (pid_ <= 0) return code_;
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int end(int signal) {
    if (pid_ > 0) kill(pid_, signal);
    return wait();
  }
  void send(int signal) const {
    if (pid_ > 0) kill(pid_, signal);
  }
  std::string output() const {
    std::ifstream in(output_);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::filesystem::path output_;
  pid_t pid_ = -1;
  int code_ = -1000;
};

}  // namespace chaos_test
