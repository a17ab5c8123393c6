// One line of an [expect …] or [abort] section.
//
//   expectation := [ PROBE ] metric [ argument ] op bound        op := >= > <= <         form compare
//                | [ PROBE ] metric [ argument ] = bound [ ±N% ]                         forms at_most, below, near
//                | [ PROBE ] metric [ argument ]                                         forms none, some
//   `success_rate >= 99%`  `shop status 503 >= 95%`  `opens_within redis = 5 failures`  `half_opens_after = 30s ±5%`  `no_crash`
//
// A share is `99%` or `0.99`, a time has a unit, a factor is `5` or `5x`, a rate is `20/s` or `20`.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/rules/problem.hpp"

namespace chaos::experiment {

enum class window { baseline, during, after };
inline constexpr const char* window_names[] = {"baseline", "during", "after"};

enum class unit { share, time, factor, rate, count, failures };
enum class argument_form { none, status, header, text, fault, process, breaker, calls };
enum class subject { probe, log, experiment };
enum class form { compare, at_most, below, near, none, some };

enum class metric {
#define METRIC(name, ...) name,
#include "metrics.def"
#undef METRIC
  total
};

struct metric_info {
  const char* name;
  experiment::unit unit;
  argument_form argument;
  subject of;
  unsigned windows;  // bits
  experiment::form form;
  const char* meaning;
};
const metric_info& info_of(metric m);
std::span<const metric_info> all_metrics();

enum class comparison { at_least, above, at_most, below, near };

struct expectation {
  window when = window::during;
  std::string probe;  // empty: of the experiment, or of all probes (recovery)
  metric what = metric::success_rate;
  std::string argument;  // "503", "5xx", "X-Source", the name of a fault, process or breaker, a text
  std::string second;    // the value of a header; the fault of no_calls_while_open
  comparison how = comparison::at_least;
  double bound = 0;      // share 0..1, time in ns
  double tolerance = 0;  // near: share of the bound
  std::string text;      // as it was written, blanks evened out
  bool implied = false;  // nobody wrote it: every experiment expects it

  bool holds(double measured) const;
};

// What the file defines, by name.
struct known_names {
  std::vector<std::string> probes, logs, faults, processes;  // logs: probes of the kind log; they are not among probes
};

// `when` nothing: the metric's own window, as in [expect].
rules::result<expectation> parse_expectation(std::string_view text, std::optional<window> when, const known_names& names);
// [abort]: of this moment; metrics that compare with the baseline or look at the whole run are refused.
rules::result<expectation> parse_abort(std::string_view text, const known_names& names);

std::string human(unit u, double value);  // "99.2%", "12.3 ms", "4.8x", "20/s", "3"

}  // namespace chaos::experiment
