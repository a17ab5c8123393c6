// A command beside the experiment is ended with everything that it started, whatever that did to hide, and whatever ends us.
#include "control/experiment/background.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

namespace {

using chaos::experiment::background;
using namespace std::chrono_literals;

bool eventually(const std::function<bool()>& condition) {
  for (const auto end = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(2ms))
    if (condition()) return true;
  return false;
}

bool alive(int pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  const auto close = text.rfind(')');
  return close != text.npos && text[close + 2] != 'Z';
}

class Background : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(folder); }
  int pid_in(const std::string& name) {
    int pid = 0;
    EXPECT_TRUE(eventually([&] { return static_cast<bool>(std::ifstream(folder / name) >> pid) && pid > 0; })) << name;
    return pid;
  }
  std::vector<std::string> family() const {  // a child, one in a session of its own, and one whose parent is gone
    return {"/bin/sh", "-c", "cd " + folder.string() + "; sleep 1000 & echo $! > child; setsid sh -c 'echo $$ > own; exec sleep 1000' & sh -c '(sh -c \"echo \\$\\$ > orphan; exec sleep 1000\") & exit 0'; wait"};
  }
  const std::filesystem::path folder = [] {
    char name[] = "/tmp/chaos-background-XXXXXX";
    return std::filesystem::path(mkdtemp(name));
  }();
};

TEST_F(Background, EndsEverythingThatItStarted) {
  background b(family());
  const int pids[] = {pid_in("child"), pid_in("own"), pid_in("orphan")};
  EXPECT_TRUE(b.running());
  b.end();
  for (const int pid : pids) EXPECT_FALSE(alive(pid));
}

TEST_F(Background, EndsWithItsOwner) {
  const pid_t owner = fork();
  if (owner == 0) {
    background b(family());
    pause();
    _exit(0);
  }
  const int pids[] = {pid_in("child"), pid_in("own"), pid_in("orphan")};
  kill(owner, SIGKILL);
  waitpid(owner, nullptr, 0);
  for (const int pid : pids) EXPECT_TRUE(eventually([&] { return !alive(pid); })) << pid;
}

TEST_F(Background, TellsHowACommandEnded) {
  background good({"/bin/sh", "-c", "exit 0"}), bad({"/bin/sh", "-c", "exit 7"}), killed({"/bin/sh", "-c", "kill -9 $$"}), none({"/no/such/program"});
  const std::pair<background*, int> rows[] = {{&good, 0}, {&bad, 7}, {&killed, 128 + 9}, {&none, 127}};
  for (const auto& [b, status] : rows) {
    EXPECT_TRUE(eventually([&] { return !b->running(); }));
    EXPECT_EQ(b->status(), status);
  }
}

TEST_F(Background, WhatACommandLeftBehindIsEndedToo) {
  background b({"/bin/sh", "-c", "sleep 1000 & echo $! > " + (folder / "left").string()});
  const int left = pid_in("left");
  EXPECT_TRUE(eventually([&] { return !b.running(); }));
  EXPECT_TRUE(alive(left));
  b.end();
  EXPECT_FALSE(alive(left));
}

}  // namespace
