#include "sending.hpp"

#include "moves.hpp"
#include "outcome.hpp"
#include "own.hpp"
#include "preload/runtime/bucket.hpp"
#include "preload/runtime/output_hold.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {

bool output_is_held_now(descriptor& d) {
  if (closes_by_itself(d)) return false;
  const std::uint64_t now = sys::now_ns();
  return output_held_until(d, now) || send_held_until(d, now);
}

bool send_through_bucket(frame& f) {
  const core::fired_rule& r = *f.made.verdict.bandwidth;
  const std::uint64_t rate = r.bytes ? r.bytes : 1, now = f.made.now_ns;
  std::atomic<std::uint64_t>* shared = shared_bucket(r);
  std::atomic<std::uint64_t>& bucket = shared ? *shared : f.d->send_empty_ns;
  begin_empty(bucket, now);
  const bool datagram = f.acts_as & cls::datagram_out;
  if (!nonblocking(f)) {
    const std::uint64_t deadline = deadline_of(f.c.fd, SO_SNDTIMEO, now);
    const bool in_time = through_bucket(bucket, f.moves, rate, now, false) <= deadline;
    const waited w = hold_until(in_time ? through_bucket(bucket, f.moves, rate, now, true) : deadline, r.id);
    f.error = w == waited::interrupted ? EINTR : w == waited::due && !in_time ? EAGAIN : 0;
    if (w != waited::due || !in_time) let_go_early(f.made, core::of(abi::effect::bandwidth), sys::now_ns() - now);
    return !f.error;
  }
  std::uint64_t piece = effects::bandwidth::bytes_in(effects::bandwidth::piece_ns, rate) + 1;
  if (piece > f.moves || datagram) piece = f.moves;
  // A datagram goes as a whole, however much larger than a burst it is: once the bucket has been empty for as long as it takes.
  const std::uint64_t through = datagram ? bucket.load(std::memory_order_relaxed) + effects::bandwidth::time_of(piece, rate)
                                         : through_bucket(bucket, piece, rate, now, false);
  if (through > now) {
    hold_sending(*f.d, through, r.id);
    refire(f.c.fd);
    f.error = EAGAIN;
    return false;
  }
  std::uint64_t more = piece + effects::bandwidth::bytes_in(now - through, rate);
  if (more > f.moves || datagram) more = f.moves;
  through_bucket(bucket, more, rate, now, true);
  for (unsigned i = 0; i < f.made.judged.count; ++i)  // the rest is another call's, which counts it
    if (f.made.judged.fired[i].id == r.id) f.made.judged.fired[i].delay_ns = effects::bandwidth::time_of(more, rate);
  if (more < f.made.verdict.cap) f.made.verdict.cap = more;
  return true;
}

}  // namespace chaos::hooks
