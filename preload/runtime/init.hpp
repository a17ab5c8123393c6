// Start-up of the shim; see init.cpp.
#pragma once

namespace chaos {

bool start_up_done();

// The environment as it was handed to us: programs overwrite `environ` (redis, nginx), and getenv is a hook.
const char* initial_environment(const char* name);

}  // namespace chaos
