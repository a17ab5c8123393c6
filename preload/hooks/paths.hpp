// Calls on paths: the common road of what opens, names and removes files.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

road enter_path(frame& f);

}  // namespace chaos::hooks
