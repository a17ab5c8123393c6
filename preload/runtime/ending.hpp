// Connections that end when their time is up (reset_peer T, timeout T), though nothing arrives and nothing is sent. The first call
// that meets the rule begins the time, and so does a wait; whoever waits then, waits no longer than until the end.
//
// Where a rule is narrowed (a probability, --when, --on …), only a call can say whether it means it: that one begins the time, too,
// and the wait asks the rule once more when the time is up.
#pragma once
#include "descriptors.hpp"

namespace chaos {

struct due;

// A call met a rule that resets the connection later.
void note_end(descriptor& d, std::uint32_t rule, std::uint64_t at_ns);

// When it is reset, as far as that is known and the rule in force; 0: not.
std::uint64_t ends_at(const descriptor& d, std::uint64_t now_ns);

// Asks the rules that need no call to say so, once for each generation of them. For who is going to wait.
void learn_end(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller);

// A wait that came to the end resets the connection: the kernel then tells of it, and the next call gets ECONNRESET.
void end_when_due(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller);

// For waits: both of them, and when to look again (0: for this no need to).
std::uint64_t follow_end(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller);

// Of a unix stream, whose kernel knows no reset: the call that comes next says so. True once.
bool take_owed_reset(descriptor& d);

// It is made, and not ended yet.
bool connection_stands(const descriptor& d, int fd);

// Could the rules end it in its time?
bool may_end(const descriptor& d, const rule_view& v);

}  // namespace chaos
