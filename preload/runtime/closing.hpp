// Handing a descriptor to chaosd, which closes it when its time has come (abi/closing.hpp).
#pragma once
#include <cstdint>

namespace chaos {

void closing_socket_is(const char* path);  // at start-up

// False: nobody is there to take it. `how` as shutdown's, -1 for close: then the program's epoll sets forget it as well,
// as they would have when the last descriptor was closed.
bool close_later(int fd, std::uint32_t rule, std::uint64_t due_ns, int how);

}  // namespace chaos
