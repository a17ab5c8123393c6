// How the values of rules are read and written: pure functions, text in, value or problem out. `what` names the place
// ("--jitter") for the message. Each grammar stands beside its parser.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chaos/abi/rule.hpp"
#include "problem.hpp"

namespace chaos::rules {

//   duration    := number unit | "0"        unit := ns us ms s min h d        1.5s = 1500ms
//   at most a year; fractions of a nanosecond are dropped
result<std::uint64_t> parse_duration(std::string_view what, std::string_view text);
std::string format_duration(std::uint64_t ns);  // the largest unit that gives a whole number

//   size        := number unit | "0"        unit := B KB MB GB TB (thousands) KiB MiB GiB TiB (1024s)
result<std::uint64_t> parse_size(std::string_view what, std::string_view text);
std::string format_size(std::uint64_t bytes);

//   rate        := size "/s"
result<std::uint64_t> parse_rate(std::string_view what, std::string_view text);

//   probability := number in 0..1 | number in 0..100 "%"
result<abi::probability> parse_probability(std::string_view what, std::string_view text);
std::string format_probability(abi::probability p);

//   count       := digits, 1 or more        seed := digits        pid := digits, 1..4194304
result<std::uint64_t> parse_count(std::string_view what, std::string_view text);
result<std::uint64_t> parse_seed(std::string_view what, std::string_view text);
result<std::uint32_t> parse_pid(std::string_view what, std::string_view text);

//   range       := size ".." size | size ".." | ".." size | size
struct size_range {
  std::uint64_t low = 0, high = UINT64_MAX;
};
result<size_range> parse_size_range(std::string_view what, std::string_view text);

//   durations   := duration ".." duration | duration
struct duration_range {
  std::uint64_t least_ns = 0, most_ns = 0;
};
result<duration_range> parse_duration_range(std::string_view what, std::string_view text);

//   when        := first | first "+" [step] | first ".." last [ "+" step ] | pattern
//   first, last, step := 1 or more; pattern := 1..64 of X and O, with an X
result<abi::when_clause> parse_when(std::string_view what, std::string_view text);

//   errors      := item { "," item }        item := NAME [ "=" weight ]        NAME := E… or EAI_…
struct named_error {
  std::string name;
  int error = 0;
  bool of_names = false;  // EAI_*
  std::uint32_t weight = 1;
};
result<std::vector<named_error>> parse_errors(std::string_view what, std::string_view text);
std::string errno_name(int error);      // "ECONNRESET"; a number when it has no name
std::string eai_name(int error);
int errno_number(std::string_view name);  // 0: no such name

//   percentiles := point { "," point }      point := "p" number "=" duration      rising in both
result<std::vector<abi::percentile_point>> parse_percentiles(std::string_view what, std::string_view text);

//   model       := "random" | "gemodel:" P [ "," R [ "," 1-H [ "," 1-K ] ] ]      as tc-netem: R = 1-P, 1-H = 1, 1-K = 0
struct loss_parameters {
  abi::loss_model model = abi::loss_model::random;
  abi::probability gemodel[4] = {};
};
result<loss_parameters> parse_model(std::string_view what, std::string_view text);

//   glob        := text of 1..250 bytes without control characters;  name := letters, digits, '.', '_', '-', at most
//   40 (an INI section has no more room), not only digits (that would be an id)
result<done> check_glob(std::string_view what, std::string_view text);
result<done> check_name(std::string_view what, std::string_view text);

// One of `choices`: its place in them.
result<unsigned> parse_choice(std::string_view what, std::string_view text, const std::vector<std::string>& choices);

std::vector<std::string> split(std::string_view text, char at);
std::string_view trimmed(std::string_view text);

}  // namespace chaos::rules
