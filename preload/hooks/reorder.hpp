// Receiving where a datagram waits for others to pass it, or is to come twice.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

inline bool datagram_waits(const descriptor* d) {
  const delay_line* line = d ? d->line.load(std::memory_order_relaxed) : nullptr;
  return line && line->overtaken;
}

// Which datagram this receive gives. True: the call takes `way`. False: the one at the head, by the real call.
bool reorder_enter(frame& f, road& way, bool rule_is_gone = false);

// The one at the head is to come twice: now it stays there, and the next receive finds it again.
bool twice_enter(frame& f, road& way);

}  // namespace chaos::hooks
