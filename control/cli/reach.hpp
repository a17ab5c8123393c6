// Can a preload reach this program, and how much of it? For `run` (refuse what can not work before it starts) and
// `doctor` (say why nothing happens). Reads files and /proc only; starts nothing.
#pragma once
#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "control/rules/problem.hpp"

namespace chaos::cli {

enum class severity {
  refused,  // the shim will not be loaded: `run` stops here
  limited,  // it will, but something escapes it
  note      // worth knowing
};

struct finding {
  severity level;
  std::string code;     // stable word for --json: static, setuid, go …
  std::string text;     // what it is
  std::string instead;  // what to do about it
};

struct reach_report {
  std::string asked;                     // as it was given
  std::vector<std::string> chain;        // files: the script, its interpreter …; the last is the program that is loaded
  std::vector<finding> findings;
  std::vector<std::string> interposed;   // imported functions that libchaos.so stands in front of
  std::vector<std::string> not_covered;  // imported functions that look like input or output and are not
  bool needs_asan_first = false;         // libasan.so must precede us
  std::string asan_library;
  bool musl = false;

  const std::string& program() const { return chain.back(); }
  bool refused() const;
  const finding* first_refusal() const;
};

// A name is looked for in PATH as execvp would.
rules::result<std::string> find_program(const std::string& name);
rules::result<reach_report> examine_program(const std::string& name);
rules::result<reach_report> examine_process(pid_t pid);

// What can be seen of a live process from outside, in the words of `ps`: io_uring (it has a ring), seccomp (a filter).
std::vector<std::string> observed_limits(pid_t pid);

// Is this libc function, not in functions.def, one that moves bytes, names or files?
bool looks_like_io(std::string_view symbol);

}  // namespace chaos::cli
