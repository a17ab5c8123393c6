// Start-up of the shim; see init.cpp.
#pragma once
#include <cstddef>

namespace chaos {

bool start_up_done();

// The environment as it was handed to us: programs overwrite `environ` (redis, nginx), and getenv is a hook.
const char* initial_environment(const char* name);

extern std::size_t (*usable_size)(void*);  // malloc_usable_size; nullptr when this libc has none

}  // namespace chaos
