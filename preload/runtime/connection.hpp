// Things done to a live connection: breaking it, and sending a connect elsewhere and back.
#pragma once
#include "descriptors.hpp"

namespace chaos {

// A real RST to the peer, and ECONNRESET pending here; unix sockets are shut down. The descriptor stays open.
void break_connection(descriptor& d, int fd);

// A real RST to the peer, and here all that a RST from there would leave: ECONNRESET for the next call, readiness, and then the end.
void reset_connection(int fd);

// Closed, and not by us or by the program.
bool ended_from_outside(const descriptor& d, int fd);

// Non-blocking connects that a rule refuses or black-holes go to loopback endpoints that chaosd owns, so that
// EINPROGRESS, readiness and SO_ERROR are the kernel's own. Returns what connect gave (0, -errno), or -ENOTSUP when
// there is no such endpoint for this socket.
long redirect(descriptor& d, int fd, bool blackhole, std::uint32_t rule_id);

// The rule of a redirected connect is gone: connect to where the program wanted. True when it was done just now.
bool heal_redirect(descriptor& d, int fd);

// A non-blocking call on it met a black hole: when the rule has gone, epoll sets are to tell of it again.
void remember_held(int fd);

// For every descriptor that hangs in a sink or a black hole whose rule is gone: its connect is sent on its way, its
// readiness told anew. Waits call this first; it costs one load while there is none.
void heal_held();

}  // namespace chaos
