// What is put under pressure, how much and for how long.
//
//   words := STRESSOR { amount }        amount := count | N "%" | size        cpu 2 80% · memory 200MB · disk 1GB 2 · network
#pragma once
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "control/rules/problem.hpp"

namespace chaos::stress {

enum class stressor {
#define STRESSOR(name, ...) name,
#include "stressors.def"
#undef STRESSOR
  count
};

struct stressor_info {
  const char* name;
  unsigned takes, needs;
  const char* options;
  const char* amounts;
  const char* example;
  const char* meaning;
};
std::span<const stressor_info> all_stressors();
std::vector<std::string> stressor_names();

inline constexpr unsigned workers_max = 64;
inline constexpr std::uint64_t size_min = 1'048'576;  // stress-ng's own, of disk
inline constexpr auto default_length = std::chrono::seconds(30);
inline constexpr auto length_max = std::chrono::hours(1);

struct plan {
  stressor what = stressor::cpu;
  unsigned workers = 1;
  unsigned load_percent = 100;
  std::uint64_t size_bytes = 0;
  std::chrono::nanoseconds length = default_length;  // never without an end
  std::string folder = "/tmp";                        // what `disk` writes goes below it, and is removed

  const stressor_info& info() const { return all_stressors()[static_cast<unsigned>(what)]; }
};

rules::result<plan> plan_from_words(std::span<const std::string> words);
rules::result<std::chrono::nanoseconds> parse_length(std::string_view what, std::string_view text);

std::string text_of(const plan& p);  // "memory 200MB", "cpu 2 80%"

// stress-ng and its arguments. `folder` is where it may leave files, `port` the first of `workers` free ones.
std::vector<std::string> command_line(const plan& p, const std::string& program, const std::string& folder, unsigned port);

}  // namespace chaos::stress
