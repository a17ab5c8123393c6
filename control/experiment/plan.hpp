// An experiment as its file describes it. docs/experiments.md is the reference of the file.
//
//   [experiment]  name hypothesis baseline observe recover after healthy
//   [probe NAME]  kind = http|tcp|command, interval or rate, timeout, and what the kind takes
//   [fault NAME]  as for `chaos-ctl apply`
//   [expect baseline] [expect during] [expect after]
//
// ${NAME} and ${NAME:-default} stand for environment variables, everywhere but in comments.
#pragma once
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/rules/rule_spec.hpp"
#include "expectation.hpp"

namespace chaos::experiment {

using nanoseconds = std::chrono::nanoseconds;

enum class probe_kind { http, tcp, command };
inline constexpr const char* probe_kind_names[] = {"http", "tcp", "command"};

inline constexpr unsigned probe_workers_max = 128;  // requests of one probe that may be under way at once
inline constexpr unsigned probes_max = 16;
inline constexpr unsigned samples_max = 1'000'000;  // of one experiment, all probes together

struct status_range {
  int low = 200, high = 399;
};

struct probe_plan {
  std::string name;
  probe_kind kind = probe_kind::http;
  nanoseconds interval{50'000'000}, timeout{2'000'000'000};
  std::string host;  // http and tcp
  int port = 0;
  std::string path_before, path_after;  // http; between them a number that counts from first to last, if there is one
  std::uint64_t first = 0, last = 0;    // last 0: no number
  std::vector<status_range> status{{}};
  std::string body;                  // must be in the answer
  std::string send, expect;          // tcp
  std::string command;               // command
  std::vector<std::pair<std::string, std::string>> headers;  // that expectations look for; at most 32
  unsigned workers() const;
};

struct plan {
  std::string name, hypothesis;
  nanoseconds baseline{5'000'000'000}, observe{10'000'000'000}, recover{30'000'000'000}, after{0};
  unsigned healthy = 5;  // good answers in a row that count as recovered
  std::vector<probe_plan> probes;
  std::vector<rules::rule_spec> faults;
  std::vector<expectation> expectations;  // written ones in order, then implied ones
};

using environment = std::function<std::optional<std::string>(const std::string&)>;
environment process_environment();

rules::result<plan> parse_plan(std::string_view text, const environment& variables);

}  // namespace chaos::experiment
