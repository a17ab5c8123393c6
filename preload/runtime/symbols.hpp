// Names of functions by code address, from the symbol tables of the files that are mapped. Read once for each address and
// kept; the loader, whose lock dladdr takes, is not asked.
#pragma once
#include <cstdint>

#include "preload/core/elf_symbols.hpp"

struct link_map;

namespace chaos {

// nullptr when there is none that can be found. What is returned lasts.
const core::function_symbol* function_at(std::uint64_t code, const link_map* module);

}  // namespace chaos
