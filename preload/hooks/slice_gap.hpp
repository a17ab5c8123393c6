// The time between two slices of a stream, as calls meet it.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

// Between two slices that are sent: asleep, as the caller asked to block. False: frame::error.
bool wait_out_gap(frame& f);

// The slicers among the rules were what held this slice back.
void tell_gap(frame& f, std::uint64_t held);

// The slice has moved: the gap behind it begins.
void begin_gap_here(frame& f, bool input);

}  // namespace chaos::hooks
