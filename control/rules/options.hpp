// options.def as an enumeration and a table of plain data.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chaos/abi/effects.hpp"

namespace chaos::rules {

enum class option_form : std::uint8_t {
  flag, name, glob, duration, size, size_range, probability, count, seed, pid, when, functions, direction, scope,
  distribution, percentiles, model, how, oneway, exit_status, signal
};

enum class option_role : std::uint8_t { identity, label, life, manner };

using kind_set = std::uint64_t;
constexpr kind_set bit_of(abi::effect kind) { return kind_set{1} << static_cast<unsigned>(kind); }
static_assert(abi::effect_count <= 64);

enum class option : std::uint8_t {  // for_, owner_ …: `for` alone is a keyword
#define OPTION(name, ...) name##_,
#include "options.def"
#undef OPTION
  count
};
inline constexpr unsigned option_count = static_cast<unsigned>(option::count);

struct option_info {
  const char* name;  // the key in INI and JSON; the command line writes '-' for '_'
  option_form form;
  kind_set kinds;
  option_role role;
  const char* value_help;
  const char* example;
  const char* help;
};

namespace detail::option_scope {
inline constexpr kind_set any = ~kind_set{0};
#define EFFECT(kind, ...) inline constexpr kind_set kind = bit_of(abi::effect::kind);
#include "chaos/abi/effects.def"
#undef EFFECT
inline constexpr option_info option_table[] = {
#define OPTION(name, form, kinds, role, value_help, example, help) \
  {#name, option_form::form, kinds, option_role::role, value_help, example, help},
#include "options.def"
#undef OPTION
};
}  // namespace detail::option_scope

inline constexpr const auto& option_table = detail::option_scope::option_table;
static_assert(sizeof option_table / sizeof option_table[0] == option_count);

constexpr const option_info& info_of(option o) { return option_table[static_cast<unsigned>(o)]; }
constexpr bool takes(abi::effect kind, option o) { return (info_of(o).kinds & bit_of(kind)) != 0; }

std::string flag_of(option o);                             // "--average-size"
std::string example_of(option o);                          // "--average-size 16B": the option in its example
std::optional<option> find_option(std::string_view key);   // "average_size", "average-size" or "--average-size"
std::vector<std::string> flags_for(abi::effect kind);      // what this kind takes, as flags
std::span<const char* const> choices_of(option_form form); // the words that a form allows; empty when it is open
std::optional<abi::effect> find_kind(std::string_view name);
std::vector<std::string> kind_names();

}  // namespace chaos::rules
