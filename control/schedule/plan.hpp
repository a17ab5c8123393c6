// A schedule as its file describes it. docs/schedule.md is the reference of the file.
//
//   [schedule]        name interval minimum_interval jitter start_wait recovery count seed enabled state_file command_timeout
//   [health]          check timeout widen interval_max
//   [audit]           file syslog
//   [notify]          command webhook timeout
//   [target NAME]     process start restart state_file
//   [scenario NAME]   weight rule command undo restart recovery mode targets
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/ini/sections.hpp"
#include "control/rules/rule_spec.hpp"

namespace chaos::schedule {

using nanoseconds = std::chrono::nanoseconds;
using namespace std::chrono_literals;

inline constexpr std::size_t targets_max = 64, scenarios_max = 64;
inline constexpr unsigned weight_max = 1'000'000;

struct target {
  std::string name;
  std::string process;         // glob; empty: the rules say themselves whom they mean
  std::string start, restart;  // commands
  std::string state_file;
};

struct scenario {
  std::string name, mode;
  unsigned weight = 1;
  std::vector<std::string> rules;  // as after `chaos-ctl set`; {A..B} not drawn yet
  std::string command, undo;
  bool restart = false;
  std::optional<nanoseconds> recovery;
  std::vector<std::string> targets;  // empty: all
  int line = 0;                      // 0: one of scenarios.def
};

struct plan {
  std::string name = "schedule";
  bool enabled = true;
  nanoseconds interval = 3min, minimum_interval = 1min, jitter = 0s, start_wait = 1min, recovery = 30s, command_timeout = 30s;
  std::uint64_t count = 0;  // 0: no end
  std::optional<std::uint64_t> seed;
  std::string state_file;

  std::string health;  // http://…, tcp://HOST:PORT, or a command
  nanoseconds health_timeout = 2s, interval_max = 1h;
  unsigned widen = 2;

  std::string audit_file;
  bool syslog = false;
  std::string notify_command, webhook;
  nanoseconds notify_timeout = 5s;

  std::vector<target> targets;
  std::vector<scenario> scenarios;

  const target* find(const std::string& name) const;
  std::vector<const target*> targets_of(const scenario& s) const;  // empty: the file has none
  nanoseconds recovery_of(const scenario& s) const { return s.recovery.value_or(recovery); }
};

rules::result<plan> parse_plan(std::string_view text, const ini::environment& variables);

// A rule of a scenario as it will be set, with the numbers that were drawn.
rules::result<rules::rule_spec> spec_of(const std::string& text, const target* where, const std::string& name);
rules::result<rules::rule_spec> checked_spec_of(const std::string& text, const target* where, const std::string& name);  // … and it compiles
std::string rule_name(const plan& p, const scenario& s, std::size_t index);

// {A..B}: the text with choose(A, B) in place of each.
rules::result<std::string> with_numbers(std::string_view text, const std::function<std::uint64_t(std::uint64_t, std::uint64_t)>& choose);

}  // namespace chaos::schedule
