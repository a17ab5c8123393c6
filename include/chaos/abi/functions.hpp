// functions.def as an enumeration and a table of plain data: everything that is known of a hooked function except how
// to call it, which only the preload needs.
#pragma once
#include <cstdint>

#include "classes.hpp"

namespace chaos::abi {

enum class fails : std::uint8_t { minus_one, null, code, eai, eof, zero_items, none };

enum class function_id : std::uint16_t {
#define HOOK(symbol, ...) symbol,
#define HOOK_ABI HOOK
#include "functions.def"
#undef HOOK
#undef HOOK_ABI
  count
};

inline constexpr unsigned function_count = static_cast<unsigned>(function_id::count);

struct function_info {
  const char* name;
  class_set classes;
  fails how;
  const char* errnos;  // names, separated by one space
};

namespace detail {
// The class columns of functions.def are written unqualified; this scope gives them their meaning.
namespace table_scope {
using namespace classes;
inline constexpr function_info function_table[] = {
#define HOOK(symbol, klass, how, returns, parameters, arguments, errnos, ...) \
  {#symbol, klass, ::chaos::abi::fails::how, errnos},
#define HOOK_ABI HOOK
#include "functions.def"
#undef HOOK
#undef HOOK_ABI
};
}  // namespace table_scope
}  // namespace detail

inline constexpr const auto& function_table = detail::table_scope::function_table;
static_assert(sizeof function_table / sizeof function_table[0] == function_count);

// A set of functions, one bit each: `--on recv,read`.
struct function_set {
  static constexpr unsigned words = 4;
  std::uint64_t word[words] = {};

  constexpr void add(function_id f) {
    word[static_cast<unsigned>(f) / 64] |= std::uint64_t{1} << (static_cast<unsigned>(f) % 64);
  }
  constexpr bool has(function_id f) const {
    return word[static_cast<unsigned>(f) / 64 % words] >> (static_cast<unsigned>(f) % 64) & 1;
  }
  constexpr bool empty() const { return (word[0] | word[1] | word[2] | word[3]) == 0; }
};
static_assert(function_count <= function_set::words * 64, "function_set has room for 256 functions");

}  // namespace chaos::abi
