// The faults of an experiment or a schedule, put in force and removed by way of chaosd. They belong to this process: they end
// with it, whatever happens to it.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "control/experiment/runner.hpp"
#include "control/protocol/message.hpp"
#include "link.hpp"

namespace chaos::cli {

// Every question on a connection of its own: a daemon that was started anew in between is met as such.
class daemon_faults final : public experiment::fault_port {
 public:
  explicit daemon_faults(session_location where) : where_(std::move(where)) {}

  // A rule of the same name that is in force already and somebody else's: refused. One of our own is replaced.
  rules::result<std::vector<experiment::fault_state>> inject(std::span<const rules::rule_spec> specs, std::vector<std::string>& notes) override;
  rules::result<rules::done> reserve(std::span<const std::string> names);  // refuses names that are taken
  rules::result<std::vector<experiment::fault_state>> look() override;     // by name, those that replaced others with all counts
  rules::result<rules::done> remove() override;

 private:
  rules::result<protocol::reply> ask_daemon(protocol::command what, protocol::json arguments);
  rules::result<protocol::json> rules_there();
  bool mine(const protocol::json& rule) const;

  const session_location where_;
  std::vector<std::string> names_;
  std::uint64_t before_ = 0;  // rules with ids up to this were there before us
};

}  // namespace chaos::cli
