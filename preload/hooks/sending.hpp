// Output that a rule holds back: connections that are not to be written to yet, and upstream bandwidth.
#pragma once
#include "hook.hpp"
#include "preload/runtime/slice_gap.hpp"

namespace chaos::hooks {

bool output_is_held_now(descriptor& d);
inline bool sending_is_held(descriptor& d) {
  const delay_line* line = d.line.load(std::memory_order_relaxed);
  return ((line && line->blackhole_rule) || d.connect_due_ns.load(std::memory_order_relaxed) || d.send_due_ns.load(std::memory_order_relaxed) || has_gap(d.gap_out)) &&
         output_is_held_now(d);
}

// Asleep where the caller asked to block; else as much as may go now, or EAGAIN and no readiness. False: frame::error.
bool send_through_bucket(frame& f);

}  // namespace chaos::hooks
