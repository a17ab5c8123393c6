// What holds output back: black holes, connects that are not to be seen finished, and what may not be sent yet.
#pragma once
#include <cstdint>

#include "descriptors.hpp"
#include "shares.hpp"
#include "preload/core/judge.hpp"

namespace chaos {

// Nothing may be sent, and no connect be seen finished, before this time; 0: no hold. ~0: until the rule is gone.
std::uint64_t output_held_until(descriptor& d, std::uint64_t now_ns);
// From now on, while the rule is in force; the entry is not locked. False: it was in it already.
bool black_hole(descriptor& d, const core::fired_rule& r, std::uint64_t until_ns);
bool in_black_hole(const descriptor& d, std::uint64_t now_ns);               // in one direction at least, and the rule is in force

bool black_holed(const descriptor& d);       // since some call of the program's; the rule may be gone by now
bool closes_by_itself(const descriptor& d);  // in a black hole that ends with the connection

// A connect that has begun is not to be seen finished before they let it go.
void hold_connect(descriptor& d, std::uint64_t from_ns, const shares& held);
// Nothing more may be sent before that time, while the rule is in force.
void hold_sending(descriptor& d, std::uint64_t until_ns, std::uint32_t rule);

// Sending may go on at this time (bandwidth, slicer --delay, partition --oneway out: ~0); 0: now.
std::uint64_t send_held_until(descriptor& d, std::uint64_t now_ns);

}  // namespace chaos
