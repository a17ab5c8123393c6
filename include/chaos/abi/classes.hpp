// Function classes as bits, from classes.def. A rule, a hook and a descriptor each hold a set of them; a fault is
// possible where the three meet.
#pragma once
#include <cstdint>

namespace chaos::abi {

enum class class_index : std::uint8_t {
#define CLASS(name, meaning) name,
#include "classes.def"
#undef CLASS
  count
};

using class_set = std::uint32_t;

namespace classes {
#define CLASS(name, meaning) inline constexpr class_set name = class_set{1} << static_cast<unsigned>(class_index::name);
#include "classes.def"
#undef CLASS
inline constexpr class_set none = 0;
inline constexpr class_set all = (class_set{1} << static_cast<unsigned>(class_index::count)) - 1;
inline constexpr class_set streams = stream_in | stream_out;
inline constexpr class_set datagrams = datagram_in | datagram_out;
inline constexpr class_set data = streams | datagrams;
inline constexpr class_set files = file_open | file_io | sync;
}  // namespace classes

struct class_info {
  const char* name;
  const char* meaning;
};

inline constexpr class_info class_table[] = {
#define CLASS(name, meaning) {#name, meaning},
#include "classes.def"
#undef CLASS
};
static_assert(sizeof class_table / sizeof class_table[0] == static_cast<unsigned>(class_index::count));

}  // namespace chaos::abi
