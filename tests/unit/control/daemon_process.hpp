// A real chaosd in a folder of its own, talked to over its socket.
#pragma once
#include <fcntl.h>
#include <sys/wait.h>

#include <csignal>
#include <string>
#include <vector>

#include "control/daemon/processes.hpp"
#include "control/protocol/client.hpp"
#include "support.hpp"

namespace chaos::testing_support {

using protocol::command;
using protocol::json;

// Runs a program to its end. Its standard error is `text`.
inline int run(const std::vector<std::string>& words, std::string* text = nullptr) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    std::vector<char*> argv;
    for (const std::string& w : words) argv.push_back(const_cast<char*>(w.c_str()));
    argv.push_back(nullptr);
    dup2(ends[1], 2);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(ends[1]);
  char chunk[512];
  for (ssize_t n = 0; (n = read(ends[0], chunk, sizeof chunk)) > 0;)
    if (text) text->append(chunk, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

// Gone, or waiting for init to take notice.
inline bool ended(pid_t pid) { return daemon::start_ticks_of(pid) == 0; }

class daemon_process : public testing::Test {
 protected:
  void TearDown() override {
    if (const pid_t pid = lock_pid(); pid > 0) {
      kill(pid, SIGKILL);
      wait_until([&] { return ended(pid); });
    }
  }

  std::string folder() const { return dir_.path() + "/default"; }
  pid_t lock_pid() const {
    const std::string text = read_file(folder() + "/chaosd.lock");
    return text.empty() ? 0 : static_cast<pid_t>(std::stol(text));
  }
  int start(std::vector<std::string> more = {}, std::string* text = nullptr) const {
    std::vector<std::string> words{CHAOSD, "--dir", dir_.path()};
    words.insert(words.end(), more.begin(), more.end());
    return run(words, text);
  }
  protocol::client connect() const {
    auto c = protocol::client::connect(folder());
    EXPECT_TRUE(c) << (c ? "" : c.error().message);
    return std::move(*c);
  }
  rules::result<protocol::reply> ask(command what, json arguments = json::object()) const {
    auto c = protocol::client::connect(folder());
    if (!c) return c.error();
    return c->call(what, std::move(arguments));
  }
  json good(command what, json arguments = json::object()) const {
    const auto r = ask(what, std::move(arguments));
    EXPECT_TRUE(r) << (r ? "" : r.error().message);
    return r ? r->result : json::object();
  }
  rules::problem bad(command what, json arguments = json::object()) const {
    const auto r = ask(what, std::move(arguments));
    EXPECT_FALSE(r);
    return r ? rules::problem{rules::problem_code::count, "", "", {}} : r.error();
  }
  json set(const std::vector<std::string>& words) const { return good(command::set, {{"words", words}}); }
  std::string state_of(std::uint32_t id) const {
    const json list = good(command::list);
    for (const json& r : list["rules"])
      if (r["id"] == id) return r["state"].get<std::string>() + (r.contains("ended_reason") ? ": " + r["ended_reason"].get<std::string>() : "");
    return "unknown";
  }

  temporary_folder dir_;
};

}  // namespace chaos::testing_support
