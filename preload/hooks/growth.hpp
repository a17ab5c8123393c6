// Files that become longer: what `full` counts.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

bool full_disk_among(const rule_view& v, const std::uint64_t (&mask)[4], abi::function_id function);

// Bytes by which a write would make its file longer: what a disk has to find room for.
std::uint64_t growth(const frame& f);

// After a call on a stream of stdio: what libc still holds has been counted.
void note_counted(const frame& f);

}  // namespace chaos::hooks
