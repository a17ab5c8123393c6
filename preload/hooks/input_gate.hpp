// Where input waits that a rule delays, and where calls wait for input.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

// What is not due does not exist yet: the call takes fewer bytes (go), waits for them, or fails.
road pass_gate(frame& f, int fd, bool datagrams);

// Of an unconnected socket only the next datagram tells which rules its peer meets: waits for it, and looks whose it is.
road meet_sender(frame& f);

bool nothing_to_read(frame& f);  // and the call would not wait for it

}  // namespace chaos::hooks
