// The connections that wait to be accepted on a listener, and when the first of them may be. The kernel keeps them in the
// order in which they came; how many there are it tells for TCP (TCP_INFO), elsewhere only whether there is one.
//
// A delay begins when a connection can first be seen, in a wait or in accept. It is judged when the connection stands first,
// and counted when it has been accepted here: of several processes that share a listener, only the one that gets it counts
// it. When the rule goes away meanwhile it is counted then, as accept may not come by here any more.
#pragma once
#include "decide.hpp"
#include "delay_line.hpp"

namespace chaos {

struct accept_gate;
void release_accept_gate(accept_gate* gate);

// Some rule in force delays what this listener accepts.
bool delays_accepts(const descriptor& d, const rule_view& v);

// As look() of a stream: `bytes` is not 0 when a connection may be accepted now. The entry is not locked.
due look_at_connections(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller);

// Around the real accept: what is missing in between is ours.
void begin_accept(descriptor& d);

struct taken_connection {
  decision made;                  // its rules may be gone: told from `told`
  injection told[core::fired_max];
  std::uint64_t seen_ns, due_ns;
  shares held;
  bool is_told;
};
// After it. `new_to_us`: the kernel had the call wait, so that this is none of those that were looked at. Without a view nothing
// new is judged. False: there is nothing to tell.
bool end_accept(descriptor& d, bool accepted, bool new_to_us, const rule_view* v, abi::function_id function, const void* caller, taken_connection& out);

// Counts what it met, and tells of it.
void tell(abi::function_id function, const descriptor& d, int fd, taken_connection& t, const void* caller);
// A wait is over, maybe since the rule that it was about has gone.
void tell_if_released(descriptor& d, int fd, abi::function_id function, const void* caller);

}  // namespace chaos
