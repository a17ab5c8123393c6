// What an experiment wants of the world outside: chaosd in life, something made up in tests. Faults and stress are asked for
// by the runner alone; the questions of `facts` come from any thread.
#pragma once
#include <deque>
#include <memory>
#include <mutex>

#include "outcome.hpp"

namespace chaos::experiment {

struct breaker_now {
  std::string name, state;
  int pid = 0;
};

class facts {
 public:
  virtual ~facts() = default;
  virtual rules::result<double> counter(const std::string& rule, const std::string& name) = 0;  // rule "": of the session
  virtual rules::result<std::vector<breaker_now>> breakers() = 0;
};

// The way to the faults.
class fault_port {
 public:
  virtual ~fault_port() = default;
  // All or none; a rule of our own of the same name is replaced. `notes` gets what should be told.
  virtual rules::result<std::vector<fault_state>> inject(std::span<const rules::rule_spec> specs, std::vector<std::string>& notes) = 0;
  virtual rules::result<std::vector<fault_state>> look() = 0;  // those that inject() made, by name, ended ones too
  virtual rules::result<rules::done> remove() = 0;             // again and again, if need be
};

struct ended_stress {
  std::string name, wrong;  // wrong: why it ended before its time, else ""
};

class session : public fault_port, public facts {
 public:
  // Refuses when a rule of one of these names is in force.
  virtual rules::result<rules::done> reserve(std::span<const std::string> names) = 0;
  virtual rules::result<rules::done> stress(const stress_plan& what) = 0;
  virtual std::vector<std::string> end_stress() = 0;            // what there was to end
  virtual std::vector<ended_stress> look_stress() = 0;          // what ended by itself since the last look
  virtual void read_events(std::vector<timeline_event>& into) = 0;  // those since the last call, at once
  virtual rules::result<std::vector<int>> attached() = 0;       // processes under the shim
};

// The lines of the timeline since the experiment began, for probes.
class timeline_lines {
 public:
  void add(std::string line);
  // Lines from number `from` on; `from` becomes the number of the next.
  std::vector<std::string> since(std::uint64_t& from) const;

 private:
  static constexpr std::size_t kept_max = 20'000;
  mutable std::mutex mutex_;
  std::uint64_t first_ = 0;
  std::deque<std::string> lines_;
};

}  // namespace chaos::experiment
