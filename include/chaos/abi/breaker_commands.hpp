// breaker_commands.def as a table, and the names of the states in breaker_slot::state.
#pragma once
#include <cstdint>
#include <string_view>

namespace chaos::abi {

struct breaker_command_info {
  const char* name;
  std::uint32_t number;
  bool lasts;  // until another command; else the breakers there are do it once
  const char* meaning;
};
inline constexpr breaker_command_info breaker_command_table[] = {
#define BREAKER_COMMAND(name, number, lasts, meaning) {#name, number, lasts, meaning},
#include "breaker_commands.def"
#undef BREAKER_COMMAND
};

inline const breaker_command_info* find_breaker_command(std::string_view name) {
  for (const auto& row : breaker_command_table)
    if (name == row.name) return &row;
  return nullptr;
}

inline const char* breaker_command_name(std::uint32_t number) {
  for (const auto& row : breaker_command_table)
    if (number == row.number) return row.name;
  return "unknown";
}

inline const char* breaker_state_name(std::uint32_t state) {
  constexpr const char* names[] = {"closed", "open", "half_open", "forced_open", "disabled", "metrics_only"};
  return state < 6 ? names[state] : "unknown";
}

}  // namespace chaos::abi
