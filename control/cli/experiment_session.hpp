// What an experiment asks of the world: chaosd for faults, counters, breakers and the timeline, stress-ng for stress.
#pragma once
#include <map>
#include <memory>

#include "control/experiment/runner.hpp"
#include "control/stress/running.hpp"
#include "daemon_faults.hpp"

namespace chaos::cli {

class experiment_session final : public experiment::session {
 public:
  explicit experiment_session(const session_location& where) : where_(where), faults_(where) {}

  rules::result<rules::done> reserve(std::span<const std::string> names) override { return faults_.reserve(names); }
  rules::result<std::vector<experiment::fault_state>> inject(std::span<const rules::rule_spec> specs, std::vector<std::string>& notes) override { return faults_.inject(specs, notes); }
  rules::result<std::vector<experiment::fault_state>> look() override { return faults_.look(); }
  rules::result<rules::done> remove() override { return faults_.remove(); }

  rules::result<rules::done> stress(const experiment::stress_plan& what) override;
  std::vector<std::string> end_stress() override;
  std::vector<experiment::ended_stress> look_stress() override;

  void read_events(std::vector<experiment::timeline_event>& into) override;
  rules::result<std::vector<int>> attached() override;
  rules::result<double> counter(const std::string& rule, const std::string& name) override;
  rules::result<std::vector<experiment::breaker_now>> breakers() override;

 private:
  rules::result<protocol::json> ask_daemon(protocol::command what, protocol::json arguments) const;

  const session_location where_;
  daemon_faults faults_;
  std::map<std::string, std::unique_ptr<stress::running>> stresses_;
  std::unique_ptr<protocol::client> timeline_;
  bool watching_ = false;
};

}  // namespace chaos::cli
