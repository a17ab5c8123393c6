// Runs tests/integration/idle/probe under ptrace and counts, for each call that it marks: instructions that were executed
// inside libchaos.so, and system calls. Deterministic: the same program executes the same instructions.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/process.hpp"

namespace chaos::idle {

struct cost {
  unsigned long ours = 0;        // instructions in libchaos.so
  unsigned long all = 0;         // instructions in all, from mark to mark
  unsigned long system_calls = 0;
};

#if defined(__x86_64__)
inline std::vector<std::pair<unsigned long, unsigned long>> mapped(int pid, const char* path) {
  std::vector<std::pair<unsigned long, unsigned long>> out;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(path) == std::string::npos) continue;
    unsigned long low = 0, high = 0;
    std::sscanf(line.c_str(), "%lx-%lx", &low, &high);
    out.emplace_back(low, high);
  }
  return out;
}

inline std::string text_at(int pid, unsigned long at) {
  std::string out;
  for (;; at += sizeof(long)) {
    const long word = ptrace(PTRACE_PEEKDATA, pid, at, nullptr);
    for (unsigned i = 0; i < sizeof word; ++i) {
      const char c = static_cast<char>(word >> (8 * i));
      if (!c || out.size() > 64) return out;
      out += c;
    }
  }
}

inline std::map<std::string, cost> trace(const std::string& probe, const testing_support::environment& changes, unsigned long name_offset) {
  std::map<std::string, cost> out;
  const pid_t pid = fork();
  if (pid == 0) {
    for (const auto& c : changes) {
      const auto at = c.find('=');
      if (at == std::string::npos) unsetenv(c.c_str());
      else setenv(c.substr(0, at).c_str(), c.c_str() + at + 1, 1);
    }
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    execl(probe.c_str(), probe.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = 0;
  const auto next = [&](auto request) {
    ptrace(request, pid, nullptr, nullptr);
    return waitpid(pid, &status, 0) == pid && WIFSTOPPED(status);
  };
  waitpid(pid, &status, 0);  // the exec
  ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_EXITKILL);
  while (next(PTRACE_CONT)) {  // up to a first mark
    if (WSTOPSIG(status) != SIGTRAP) { ADD_FAILURE() << "stopped by signal " << WSTOPSIG(status); break; }
    const auto program = mapped(pid, probe.c_str());
    const auto library = mapped(pid, testing_support::library);
    const std::string name = text_at(pid, program.front().first + name_offset);
    if (name == "end" || name.empty()) break;
    cost& c = out[name];
    for (;;) {
      user_regs_struct r{};
      ptrace(PTRACE_GETREGS, pid, nullptr, &r);
      const long code = ptrace(PTRACE_PEEKTEXT, pid, r.rip, nullptr);
      for (const auto& [low, high] : library) c.ours += r.rip >= low && r.rip < high;
      ++c.all;
      c.system_calls += (code & 0xffff) == 0x050f;
      const bool mark = (code & 0xff) == 0xcc;
      if (!next(PTRACE_SINGLESTEP) || mark) break;
    }
    if (!WIFSTOPPED(status)) break;
  }
  kill(pid, SIGKILL);
  waitpid(pid, &status, 0);
  return out;
}
#endif

}  // namespace chaos::idle
