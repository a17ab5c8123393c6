// One line of an [expect …] section.
//
//   expectation := [ PROBE ] metric [ argument ] op bound        op := >= > <= <
//   `success_rate >= 99%`  `p95 < 500ms`  `shop status 503 >= 95%`  `header X-Source: redis >= 80%`  `fired redis-down >= 1`
//
// A share is `99%` or `0.99`, a time has a unit, a factor is `5` or `5x`, a rate is `20/s` or `20`.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "control/rules/problem.hpp"

namespace chaos::experiment {

enum class window { baseline, during, after };
inline constexpr const char* window_names[] = {"baseline", "during", "after"};

enum class unit { share, time, factor, rate, count };
enum class argument_form { none, status, header, fault };

enum class metric {
#define METRIC(name, unit, argument, of, windows, meaning) name,
#include "metrics.def"
#undef METRIC
  total
};

struct metric_info {
  const char* name;
  experiment::unit unit;
  argument_form argument;
  bool of_probe;
  unsigned windows;  // bits
  const char* meaning;
};
const metric_info& info_of(metric m);

enum class comparison { at_least, above, at_most, below };

struct expectation {
  window when = window::during;
  std::string probe;  // empty: of the experiment, or of all probes (recovery)
  metric what = metric::success_rate;
  std::string argument;      // "503", "5xx", "X-Source", the name of a fault
  std::string header_value;  // of `header`
  comparison how = comparison::at_least;
  double bound = 0;  // share 0..1, time in ns
  std::string text;  // as it was written, blanks evened out
  bool implied = false;  // nobody wrote it: every experiment expects it

  bool holds(double measured) const;
};

// `probes` and `faults` are the names that the file defines.
rules::result<expectation> parse_expectation(std::string_view text, window when, const std::vector<std::string>& probes,
                                             const std::vector<std::string>& faults);

std::string human(unit u, double value);  // "99.2%", "12.3 ms", "4.8x", "20/s", "3"

}  // namespace chaos::experiment
