// Does closing this descriptor end what it stands for? Not while the process has another one of it (dup), or one that was
// forked from it, or that it was forked from, still has its own: what a forking server closes goes on in its child.
#pragma once
#include "descriptors.hpp"

namespace chaos {

// Asks /proc, which costs some microseconds for each descriptor that is looked at; false as well where that can not be asked.
bool held_elsewhere(const descriptor& d, int fd);

}  // namespace chaos
