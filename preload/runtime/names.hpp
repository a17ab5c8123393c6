// Names under which this process looked addresses up. The one thing that is recorded while idle, because rules by name
// nearly always arrive after the look-up. Fixed size, lock-free, the oldest goes first.
#pragma once
#include <sys/socket.h>

#include <cstdint>

namespace chaos {

void note_name(const char* host, const sockaddr* address);
bool name_matches(const std::uint8_t (&address)[16], const char* glob);

}  // namespace chaos
