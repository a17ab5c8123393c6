// What is told of a call: its injections, once they are known, without those that came to nothing.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

void report_fired_here(frame& f, std::uint64_t bytes, std::uint8_t flags);
inline void report_here(frame& f, std::uint64_t bytes, std::uint8_t flags = 0) {
  if (f.made.judged.count) report_fired_here(f, bytes, flags);
}

// A fault that came to nothing (nothing was read, so nothing was corrupted or cut): it did not happen.
void take_back(frame& f, core::effect_set kinds, bool dry_runs_too = true);
void take_back_those(frame& f, std::uint32_t which);  // a bit for each of those that fired

// What waited was let go, or interrupted, before its time: what is counted is what was really added, to those kinds that waited.
void let_go_early(decision& made, core::effect_set waited, std::uint64_t really_ns);

}  // namespace chaos::hooks
