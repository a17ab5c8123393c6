// effects.def as an enumeration and a table of plain data.
#pragma once
#include <cstdint>

#include "classes.hpp"

namespace chaos::abi {

enum class effect : std::uint8_t {
#define EFFECT(kind, ...) kind,
#include "effects.def"
#undef EFFECT
  count
};

inline constexpr unsigned effect_count = static_cast<unsigned>(effect::count);

enum class value_form : std::uint8_t {
  none, duration, optional_duration, probability, corruption, size, rate, errors, optional_errors, optional_count, text, how, status
};

namespace target_kinds {  // what a kind may be aimed at
inline constexpr unsigned to_address = 1, to_file = 2, to_memory = 4, to_process = 8, to_dns = 16, to_env = 32, to_http = 64;
}
namespace traits {
inline constexpr unsigned closing = 1, stream_only = 2, datagram_only = 4, late = 8;
}

struct effect_info {
  const char* name;
  value_form value;
  class_set address_classes;  // default for addresses, unix sockets, descriptors
  class_set file_classes;     // default for file: targets
  class_set other_classes;    // default for malloc, dns, env, process
  class_set further_classes;  // where it acts only when --on says so
  unsigned targets;
  unsigned traits;
  const char* value_help;
  const char* summary;
};

namespace detail::effect_scope {
using namespace classes;
using namespace target_kinds;
using namespace traits;
#define CLASSES(a, f, o, further) a, f, o, further
inline constexpr effect_info effect_table[] = {
#define EFFECT(kind, value, klass, targets, trait, value_help, summary) \
  {#kind, value_form::value, klass, targets, trait, value_help, summary},
#include "effects.def"
#undef EFFECT
};
#undef CLASSES
}  // namespace detail::effect_scope

inline constexpr const auto& effect_table = detail::effect_scope::effect_table;
static_assert(sizeof effect_table / sizeof effect_table[0] == effect_count);

}  // namespace chaos::abi
