// Streams of stdio on the common road: what a program asks them afterwards is libc's own answer.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

// It has what the call asks for, or is asked by one that takes what there is.
bool served_from_buffer(const frame& f);

// A fault is an error of the stream, and the end of the connection is found by libc itself.
road as_stdio(frame& f, road way);

}  // namespace chaos::hooks
