// HTTP messages on the common road: calls are cut where messages end, so that what a rule does to one does not touch the
// next; what passes is followed; a status line is given in the place of another.
#pragma once
#include "hook.hpp"
#include "preload/runtime/http.hpp"

namespace chaos::hooks {

// Before the decision: which rules mean the message that this call carries (frame::http_mask). False: the call takes `way`.
bool http_enter(frame& f, road& way);

// The decision was made, and it says another status: the call takes this way.
road http_answer(frame& f, unsigned status);

// After the real call: so many bytes passed.
void http_leave(frame& f, std::uint64_t moved);

}  // namespace chaos::hooks
