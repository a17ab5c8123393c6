// What a descriptor is, as the kernel says.
#pragma once
#include <sys/stat.h>

#include "descriptors.hpp"

namespace chaos {

int socket_option(int fd, int name);  // -1: none

void learn(descriptor& d, int fd, const struct statx& s);  // kind, role, ends; the entry is locked

}  // namespace chaos
