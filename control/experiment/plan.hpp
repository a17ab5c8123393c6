// An experiment as its file describes it. keys.def has every key; docs/experiments.md is the reference of the file.
//
//   [experiment]   [probe NAME]   [load NAME]   [fault NAME] as for `chaos-ctl apply`, and start, ramp_to, ramp_over
//   [stress NAME]  [process NAME]  [expect baseline|during|after]  [expect]  [abort]
//
// ${NAME} and ${NAME:-default} stand for environment variables, everywhere but in comments.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/ini/lines.hpp"
#include "control/rules/rule_spec.hpp"
#include "expectation.hpp"

namespace chaos::experiment {

using nanoseconds = std::chrono::nanoseconds;

enum class probe_kind { http, tcp, command, redis, log, stat, breaker, timeline };
inline constexpr const char* probe_kind_names[] = {"http", "tcp", "command", "redis", "log", "stat", "breaker", "timeline"};

inline constexpr unsigned probe_workers_max = 128;  // requests of one probe that may be under way at once
inline constexpr unsigned probes_max = 16;
inline constexpr unsigned samples_max = 5'000'000;  // of one experiment, all probes and loads together
inline constexpr unsigned marks_max = 32;

struct status_range {
  int low = 200, high = 399;
};

// A text that counts up: `item:{1..1000}`.
struct counting_text {
  std::string before, after;
  std::uint64_t first = 0, last = 0;  // last 0: no number
  std::string at(std::uint64_t number) const;
};

// What expectations look for in answers; bit i of a sample's marks says that mark i was there.
struct mark {
  std::string header;  // empty: `text` is looked for in the lines of a log
  std::string text;
  bool operator==(const mark&) const = default;
};

// A probe, or a built-in load: the same requests on connections that stay open, at most `connections` under way.
struct probe_plan {
  std::string name;
  probe_kind kind = probe_kind::http;
  bool load = false;
  unsigned connections = 8;
  nanoseconds interval{50'000'000}, timeout{2'000'000'000};
  std::string host = "127.0.0.1";  // http, tcp and redis
  int port = 0;
  counting_text path;                 // http
  std::vector<status_range> status{{}};
  std::string body;                   // http: must be in the answer
  int fallback = -1;                  // http: which mark says that a fallback answered
  std::string send, expect;           // tcp; redis: expect
  counting_text command;              // command, redis
  std::string file, match;            // log; timeline: match
  bool absent = true;                 // log and timeline: no such line is good
  std::string counter, rule;          // stat
  std::optional<double> at_least, at_most;
  std::string breaker;                // breaker
  std::vector<std::string> states{"closed"};
  std::vector<mark> marks;
  unsigned workers() const;
  bool counts_for_recovery() const { return kind != probe_kind::timeline && kind != probe_kind::stat; }
};

struct command_load {
  std::string name, command;
};

struct fault_plan {
  rules::rule_spec spec;
  nanoseconds start{0}, ramp_over{0};
  std::string ramp_to;  // empty: none
  std::string name() const { return spec.get(rules::option::name_); }
};

// One moment at which a rule is put in force, or replaced by itself with another value.
struct fault_step {
  nanoseconds at;
  rules::rule_spec spec;
};

struct stress_plan {
  std::string name;
  std::vector<std::string> words;
  nanoseconds start{0}, length{0};
};

struct process_plan {
  std::string name, glob, pid_file;
  int pid = 0;
};

struct plan {
  std::string name, hypothesis;
  nanoseconds baseline{5'000'000'000}, observe{10'000'000'000}, recover{30'000'000'000}, after{0}, abort_over{2'000'000'000};
  unsigned healthy = 5;  // good answers in a row that count as recovered
  std::vector<probe_plan> probes;
  std::vector<command_load> commands;
  std::vector<fault_plan> faults;
  std::vector<stress_plan> stresses;
  std::vector<process_plan> processes;
  std::vector<expectation> expectations;  // written ones in order, then implied ones
  std::vector<expectation> aborts;        // the experiment ends when one of them is met (form none: when it is not)
};

// All faults in order of time, ramps taken apart.
std::vector<fault_step> steps_of(const plan& p);

using ini::environment;
using ini::process_environment;

rules::result<plan> parse_plan(std::string_view text, const environment& variables);

}  // namespace chaos::experiment
