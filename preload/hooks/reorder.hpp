// Receiving where a datagram waits for others to pass it.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

inline bool datagram_waits(const descriptor* d) {
  const delay_line* line = d ? d->line.load(std::memory_order_relaxed) : nullptr;
  return line && line->overtaken;
}

// Which datagram this receive gives. True: the call takes `way`. False: the one at the head, by the real call.
bool reorder_enter(frame& f, road& way);

road receive_and_keep(frame& f);  // the one at the head, which stays there

}  // namespace chaos::hooks
