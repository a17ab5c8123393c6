// Things done to a live connection: breaking it, and sending a connect elsewhere and back.
#pragma once
#include "descriptors.hpp"

namespace chaos {

// A real RST to the peer, and ECONNRESET pending here; unix sockets are shut down. The descriptor stays open.
void break_connection(descriptor& d, int fd);

// Non-blocking connects that a rule refuses or black-holes go to loopback endpoints that chaosd owns, so that
// EINPROGRESS, readiness and SO_ERROR are the kernel's own. Returns what connect gave (0, -errno), or -ENOTSUP when
// there is no such endpoint for this socket.
long redirect(descriptor& d, int fd, bool blackhole, std::uint32_t rule_id);

// The rule of a redirected connect is gone: connect to where the program wanted. True when it was done just now.
bool heal_redirect(descriptor& d, int fd);

// The same for every descriptor of the process whose rule is gone; waits ask this first. Nothing while none is redirected.
void heal_redirects();

}  // namespace chaos
