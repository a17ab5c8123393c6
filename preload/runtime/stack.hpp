// The call stack of a hooked call: for `--stack` rules, and for events while somebody watches with --stacks. Only in programs
// that were started for it (CHAOS_STACKS): a walk costs microseconds and goes by the unwind tables of every module on it.
//
// Not by libunwind: it keeps a pipe in the process to probe memory, and goes on writing to those descriptors when the
// program has closed them and uses the numbers for files of its own. It also takes locks that a fork in another thread
// leaves taken in the child, and allocates. This walk does neither, and may happen in a signal handler.
#pragma once
#include <cstdint>

#include "chaos/abi/report_page.hpp"

namespace chaos {

// Init only: whether this process is to be walked, and can be.
void find_stacks(bool asked_for);
bool stacks_on();

struct call_stack {
  call_stack() : count(0) {}                     // nothing else: most calls have one and never fill it
  unsigned count;                                // 0: not walked, or there was nothing
  std::uint64_t frames[abi::stack_frame_max];    // return addresses, the program's call of the hook first
};

void walk_stack(call_stack& out);

// "module(function+0x1f)", NUL, and so on, as much as there is room for; returns the bytes written.
unsigned describe_stack(const call_stack& s, char* out, unsigned room);

// Some frame is of a module (path or base name) or a function that matches the glob.
bool stack_matches(const call_stack& s, const char* glob);

}  // namespace chaos
