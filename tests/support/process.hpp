// Programs started by a test: natively, under the idle shim or in an armed session; ended by pid, always within a deadline.
#pragma once
#include <chrono>
#include <string>
#include <vector>

namespace chaos::testing_support {

inline constexpr const char library[] = CHAOS_LIBRARY;  // libchaos.so of this build

using environment = std::vector<std::string>;  // "NAME=value" sets, "NAME" alone unsets

struct outcome {
  int status = -1;      // exit status; 128 + signal when one ended it; -1: it did not start, or had to be killed
  bool killed = false;  // the deadline passed
  int pid = 0;
  std::string out, err;
};

// What makes a program a target of the session in `base`.
environment under_shim(const std::string& base);
environment natively();

// `changes` is applied to this process's own environment; `only` replaces it.
class program {
 public:
  program(const std::vector<std::string>& words, const environment& changes, bool only = false);
  ~program();  // kills it if it still runs
  program(const program&) = delete;
  program& operator=(const program&) = delete;
  int pid() const { return pid_; }
  void send(const std::string& text);                 // to its standard input
  std::string line(std::chrono::milliseconds patience = std::chrono::seconds(10));  // from its standard output
  outcome finish(std::chrono::milliseconds patience = std::chrono::seconds(20));    // closes its input, collects the rest

 private:
  bool pull(int timeout_ms);
  int pid_ = -1, in_ = -1, out_ = -1, err_ = -1;
  std::string text_, errors_;
};

inline outcome run(const std::vector<std::string>& words, const environment& changes, bool only = false) {
  program p(words, changes, only);
  return p.finish();
}

}  // namespace chaos::testing_support
