// The receive threshold (SO_RCVLOWAT) of a connection that is held back: above what has arrived the kernel is quiet.
#pragma once
#include "descriptors.hpp"

namespace chaos {

// Threshold above what has arrived / back to the program's own (the kernel then tells of what is there).
void raise_threshold(descriptor& d, int fd);
void restore_threshold(descriptor& d, int fd);
// A reader waits for more than the `bytes` that it has looked at: the kernel is quiet until they are there.
void wait_beyond(descriptor& d, int fd, unsigned bytes);

}  // namespace chaos
