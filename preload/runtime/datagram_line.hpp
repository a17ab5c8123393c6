// Arriving datagrams: each is judged when it stands first in the queue, and lost, doubled, passed by others or due at its time.
#pragma once
#include "delay_line.hpp"

namespace chaos {

// The entry is locked.
due look_at_datagrams(descriptor& d, int fd, delay_line& line, const rule_view& v, abi::function_id function, const void* caller);

}  // namespace chaos
