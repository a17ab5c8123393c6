// Carries out what was decided: the delay, and how a call ends when a rule ends it.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

// Waits where the caller asked to block; elsewhere the delay is owed by the connection's next arrival. False: frame::error.
bool serve_delay(frame& f);

// False: the call goes on (late errors). Else it takes `way`.
bool serve_ending(frame& f, road& way);

// The limit of a connection was reached by this very call: it ends now, not when somebody calls again.
void end_at_limit(frame& f);

void end_if_crashing(frame& f);

}  // namespace chaos::hooks
