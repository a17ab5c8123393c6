// Puts faults and stress in force, step by step, and takes them back however we leave.
#pragma once
#include <set>

#include "session.hpp"

namespace chaos::experiment {

struct stopped {  // thrown: the experiment goes no further
  experiment::verdict verdict;
  std::string reason;
};

class injector {
 public:
  injector(const plan& p, session& s, outcome& o, bool dry_run);
  ~injector() { remove(0); }
  injector(const injector&) = delete;

  // `now_ns` since the experiment began. The first step: all faults of it or none.
  void begin(std::int64_t now_ns);
  void advance(std::int64_t now_ns);  // what is due by now
  void postpone(nanoseconds lost) { began_ns_ += lost.count(); }  // a pause: later steps come later
  void look(std::int64_t now_ns);     // counters; a fault that was ended from outside ends the experiment
  void remove(std::int64_t now_ns);   // nothing the second time

 private:
  void put(std::int64_t now_ns, std::vector<rules::rule_spec> specs);
  void fill(rules::rule_spec& spec, nanoseconds since_begin) const;
  void end_bands(std::int64_t now_ns, const char* of, const std::string& name);

  const plan& plan_;
  session& session_;
  outcome& out_;
  const bool dry_run_;
  const std::vector<fault_step> steps_;
  std::size_t next_step_ = 0;
  std::vector<const stress_plan*> stresses_;  // not yet started
  std::set<std::string> limited_;             // faults with a life of their own
  std::int64_t began_ns_ = 0;
  bool armed_ = false, injected_ = false;
};

}  // namespace chaos::experiment
