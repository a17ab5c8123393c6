#include "slice_gap.hpp"

#include "moves.hpp"
#include "preload/runtime/slice_gap.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {

bool wait_out_gap(frame& f) {
  const std::uint64_t now = sys::now_ns(), due = gap_until(f.d->gap_out, now), deadline = deadline_of(f.c.fd, SO_SNDTIMEO, now);
  if (!due) return true;
  const waited w = hold_until(least(due, deadline), f.d->gap_out.rule.load(std::memory_order_relaxed));
  gap_until(f.d->gap_out, sys::now_ns());
  f.error = w == waited::interrupted ? EINTR : w == waited::due && deadline < due ? EAGAIN : 0;
  return !f.error;
}

void tell_gap(frame& f, std::uint64_t held) {
  for (unsigned i = 0; i < f.made.judged.count; ++i) {
    core::fired_rule& r = f.made.judged.fired[i];
    if (r.kind != abi::effect::slicer || r.dry_run) continue;
    r.delay_ns = least(held, r.asked_delay_ns);
    held -= r.delay_ns;
  }
}

void begin_gap_here(frame& f, bool input) {
  for (unsigned i = 0; i < f.made.judged.count; ++i)
    if (f.made.judged.fired[i].kind == abi::effect::slicer)
      return begin_gap(input ? f.d->gap_in : f.d->gap_out, sys::now_ns() + f.made.verdict.gap_ns, f.made.judged.fired[i].id);
}

}  // namespace chaos::hooks
