// Rules about environment variables: live through getenv, and at start-up by editing what the program is handed.
#pragma once
#include "chaos/abi/functions.hpp"

namespace chaos::hooks {

enum class environment_change { none, unset, replaced };

// What the rules say of a variable; `value` is set when it is replaced.
environment_change change_of(abi::function_id self, const char* name, const void* caller, char*& value);

// Start-up rules act here, before main: CPython, the JVM and shells keep a copy of their own.
void edit_environment(char** envp);

}  // namespace chaos::hooks
