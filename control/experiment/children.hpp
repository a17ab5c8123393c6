// Who the children of this thread are, those included that it inherited. For the child of a process with threads: system calls
// only, no allocation, no lock.
#pragma once
#include <sys/types.h>

#include <span>

namespace chaos::experiment {

int children_of_self(std::span<pid_t> into);  // how many; of more than there is room for the first ones

// The two ways, by which it takes the first that works. -1: that one does not.
int listed_children(std::span<pid_t> into);    // /proc/thread-self/children, of kernels with CONFIG_PROC_CHILDREN
int searched_children(std::span<pid_t> into);  // the parent of everybody in /proc

}  // namespace chaos::experiment
