// stress-ng at work. Between it and its owner stands a guard: a process of its own that ends stress-ng and everything that it
// started when time is up, when it is told to, and when the owner is gone, however that went. stress-ng in turn ends when
// the guard is gone. Not for use by several threads at once.
#pragma once
#include <sys/types.h>

#include "plan.hpp"

namespace chaos::stress {

enum class ending { time_up, stopped, owner_gone, failed };
inline constexpr const char* ending_names[] = {"time is up", "stopped", "its owner ended", "stress-ng failed"};

rules::result<std::string> find_program();  // stress-ng in PATH, or how to get it

class running {
 public:
  // `owner`: the process whose end is the end of this, besides the caller's own.
  static rules::result<running> start(const plan& p, pid_t owner);

  running(running&& other) noexcept;
  running& operator=(running&&) = delete;
  ~running();  // stops and waits

  int descriptor() const { return guard_fd_; }  // readable when it is over
  void stop();                                  // returns at once
  ending wait();                                // until it is over
  const std::string& said() const { return said_; }  // by stress-ng, when it failed

 private:
  running() = default;
  pid_t guard_ = -1;
  int guard_fd_ = -1, leash_ = -1, output_ = -1;
  ending ending_ = ending::stopped;
  std::string said_, folder_;  // stress-ng's own; the guard removes it, unless it is killed
};

}  // namespace chaos::stress
