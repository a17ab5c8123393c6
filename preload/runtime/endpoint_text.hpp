// How endpoints are written, and what a path is found out from.
#pragma once
#include "descriptors.hpp"

namespace chaos {

// Path of an open file, or of a unix socket ('@' for abstract names). Empty when there is none.
void path_of(const descriptor& d, int fd, char* out, std::size_t room);

}  // namespace chaos
