// Breaks live connections when a closing rule comes into force, so that a thread that has been waiting in recv since
// before the rule wakes up. The descriptor is duplicated out of the target (pidfd_getfd) and disconnected: the peer gets
// a real RST, ECONNRESET is pending here. What may not be reached breaks at its next call, in the shim.
//
// A thread that the kernel finds waiting inside such a socket would be told EPIPE (since Linux 6.6). So those threads, and
// no others, are interrupted for the moment of the disconnect (PTRACE_INTERRUPT: no signal, nobody sees a stop) and
// enter their call again, where ECONNRESET waits for them.
//
// The work is done by a helper thread that lives as long as there is some: the loop never waits for it, and its end lets
// go whatever it might still hold. At most `breaks_max` connections and `job_max_ns` a rule.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "control/rules/compile.hpp"
#include "loop.hpp"
#include "report_reader.hpp"

namespace chaos::daemon {

struct live_break {
  std::int32_t pid;
  std::uint64_t time_ns;
  std::string remote;
};

struct live_outcome {
  std::uint32_t rule = 0;
  std::vector<live_break> broken;
  std::uint64_t unreached = 0;  // connections that it means and that could not be had; a process that may not be looked into counts as one
  std::string why;              // the latest reason for that
  bool scanned = false;         // nothing was broken: `connections` are there, by inode
  std::set<std::uint64_t> connections;
};

struct live_breaker_shared;

class live_breaker {
 public:
  static constexpr std::size_t breaks_max = 4096;
  static constexpr std::uint64_t job_max_ns = 2'000'000'000;
  using on_outcome = std::function<void(live_outcome)>;

  // `rule_page`: its path. A process that has it mapped is a target, also one that was forked off while nothing was armed
  // and so has no attach slot yet.
  live_breaker(loop& l, std::string rule_page, on_outcome told);
  ~live_breaker();
  live_breaker(const live_breaker&) = delete;
  live_breaker& operator=(const live_breaker&) = delete;

  void order(rules::compiled_rule rule, std::vector<attached_process> processes);
  void in_force(std::set<std::uint32_t> ids);  // orders for other rules are dropped, also half way

 private:
  // Connections that were there when `reset_peer T` came into force are broken T later; what came afterwards has a time of its
  // own, which the target keeps.
  struct later_job {
    std::uint64_t due_ns;
    rules::compiled_rule rule;
    std::set<std::uint64_t> connections;
    std::vector<attached_process> processes;
    bool scanned = false;
  };

  void collect();
  void begin_work();
  void set_timer();
  void break_those_due();

  loop& loop_;
  std::string rule_page_;
  on_outcome told_;
  std::shared_ptr<live_breaker_shared> shared_;
  int event_ = -1;
  std::map<std::uint32_t, later_job> later_;
  timer timer_;
};

}  // namespace chaos::daemon
