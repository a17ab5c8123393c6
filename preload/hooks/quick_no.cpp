#include "quick_no.hpp"

#include <errno.h>
#include <sys/socket.h>

#include "hook.hpp"
#include "preload/runtime/delay_line.hpp"
#include "preload/runtime/lanes.hpp"
#include "preload/runtime/owner.hpp"
#include "preload/runtime/slice_gap.hpp"
#include "preload/runtime/states.hpp"

namespace chaos::hooks {

quick_answer ask_quickly(abi::function_id function, abi::class_set row, int fd, const int* flags) {
  quick_answer a;
  if (inside() || static_cast<unsigned>(fd) >= descriptor_count || !fork_witness || !fork_witness->load(std::memory_order_relaxed) || others_paused()) return a;
  descriptor& d = descriptor_table[fd];
  const std::uint64_t head = d.head.load(std::memory_order_acquire);
  a.generation = static_cast<std::uint32_t>(head >> 32);
  if (a.generation != page_generation() || !(head & row)) return a;
  a.input = row & d.role & abi::classes::stream_in;
  if (flags && a.input && (*flags & MSG_PEEK)) return a;
  const sole_rule sole = d.sole[a.input ? 0 : 1];
  if (!sole.place || sole.pid != self.pid || sole.place > abi::rule_max) return a;
  if (d.broken.load(std::memory_order_relaxed) || d.redirected.load(std::memory_order_relaxed) || d.line.load(std::memory_order_relaxed) ||
      d.connect_due_ns.load(std::memory_order_relaxed) || d.send_due_ns.load(std::memory_order_relaxed) || d.charge_ns.load(std::memory_order_relaxed) ||
      has_gap(a.input ? d.gap_in : d.gap_out))
    return a;
  const abi::rule* at = &page->banks[a.generation % 2].rules[sole.place - 1];
  asm("" : "+r"(at));  // once: the compiler would multiply its way there at every look
  const abi::rule& r = *at;
  if (!r.functions.empty() && !r.functions.has(function)) return a;
  if (d.head.load(std::memory_order_acquire) != head || r.slot >= abi::rule_max) return a;  // classified anew meanwhile

  a.d = &d;
  a.slot = r.slot;
  a.state = &state_in(d.states, r.id);
  own_or_share(d);
  a.operation = owner_window(d).add(a.state->operations, 1) + 1;
  a.counted = !report->rules[r.slot].first_matched_ns.load(std::memory_order_relaxed);
  if (a.counted) count_match(r);  // the first at once, whatever becomes of the call; the others when they are over
  a.answer = core::would_fire(r, *a.state, a.operation, [&] { return sole.key; }, 0) ? quick_answer::said::yes : quick_answer::said::no;
  if (a.answer == quick_answer::said::yes && !a.counted) count_match(r);
  return a;
}

void settle(const quick_answer& a, long result) {
  if (a.input && result < 0 && errno == EAGAIN) return take_back(a);
  const std::uint64_t moved = result > 0 ? static_cast<std::uint64_t>(result) : 0;
  count_calls(a.slot, a.counted ? 0 : 1, moved);
  if (!moved) return;
  if (a.input) consumed(*a.d, moved);
  else owner_window(*a.d).add(a.d->out_bytes, moved);
}

void take_back(const quick_answer& a) {
  owner_window(*a.d).add(a.state->operations, ~std::uint64_t{0});
  if (a.counted) count_calls(a.slot, ~std::uint64_t{0}, 0);
}

}  // namespace chaos::hooks
