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

namespace {

// Operations on files are counted in the thread's own states; those of a connection may be everybody's.
std::uint64_t count_operation(const quick_answer& a, std::uint64_t n) {
  if (!a.file) return owner_window(*a.d).add(a.state->operations, n);
  return is_of_one_scope(*a.state) ? add_alone(a.state->operations, n) : a.state->operations.fetch_add(n, std::memory_order_relaxed);
}

const abi::rule& rule_at(std::uint32_t generation, unsigned place) { return page->banks[generation % 2].rules[place - 1]; }

// The first match is told at once, whatever becomes of the call; the others when they are over.
bool told_now(sole_rule& kept, const sole_rule& sole, std::uint32_t generation) {
  if (sole.met == sole.id) return false;
  const bool first = !report->rules[sole.slot].first_matched_ns.load(std::memory_order_relaxed);
  if (first) count_match(rule_at(generation, sole.place));
  else __atomic_store_n(&kept.met, sole.id, __ATOMIC_RELAXED);
  return first;
}

}  // namespace

quick_answer ask_quickly(std::uint64_t function, abi::class_set row, int fd, const int* flags) {
  quick_answer a;
  if (inside() || static_cast<unsigned>(fd) >= descriptor_count || !fork_witness || !fork_witness->load(std::memory_order_relaxed) || others_paused()) return a;
  descriptor& d = descriptor_table[fd];
  const std::uint64_t head = d.head.load(std::memory_order_acquire);
  a.generation = static_cast<std::uint32_t>(head >> 32);
  if (a.generation != page_generation() || !(head & row)) return a;
  const abi::class_set first = row & d.role & (abi::classes::stream_in | abi::classes::file_io);
  a.input = first & abi::classes::stream_in;
  if (flags && a.input && (*flags & (MSG_PEEK | beside_the_queue))) return a;
  sole_rule& kept = d.sole[first ? 0 : 1];
  const sole_rule sole = kept;
  if (!sole.place || sole.pid != self.pid) return a;
  if (reinterpret_cast<std::uintptr_t>(d.line.load(std::memory_order_relaxed)) | d.connect_due_ns.load(std::memory_order_relaxed) |
      d.send_due_ns.load(std::memory_order_relaxed) | d.charge_ns.load(std::memory_order_relaxed) | d.broken.load(std::memory_order_relaxed) |
      d.redirected.load(std::memory_order_relaxed) | has_gap(a.input ? d.gap_in : d.gap_out))
    return a;
  std::atomic_thread_fence(std::memory_order_acquire);
  if (d.head.load(std::memory_order_relaxed) != head) return a;  // classified anew meanwhile

  a.d = &d;
  a.file = d.role & abi::classes::file_io;
  a.counted = false;
  a.slot = abi::rule_max;
  a.answer = quick_answer::said::no;
  if (!a.file) own_or_share(d);
  if (!(sole.functions & function)) return a;
  a.slot = sole.slot;
  a.state = &state_in(a.file ? states_of_this_thread() : d.states, sole.id);
  a.operation = count_operation(a, 1) + 1;
  a.counted = told_now(kept, sole, a.generation);
  bool fires = false;
  if (sole.chance && sole.chance != ~std::uint64_t{0} && !a.file) {
    fires = sole.chance >= abi::certain || core::draws(sole.key, a.operation).chance(sole.chance);
  } else if (sole.chance) {
    const abi::rule& r = rule_at(a.generation, sole.place);
    fires = core::would_fire(r, *a.state, a.operation, [&] { return a.file ? key_in_thread(r) : sole.key; }, 0);
  }
  if (!fires) return a;
  a.answer = quick_answer::said::yes;
  if (!a.counted) count_calls(a.slot, 1, 0);
  return a;
}

void settle(const quick_answer& a, long result) {
  if (a.input && result < 0 && errno == EAGAIN) return take_back(a);
  const std::uint64_t moved = result > 0 ? static_cast<std::uint64_t>(result) : 0;
  if (a.slot < abi::rule_max) count_calls(a.slot, a.counted ? 0 : 1, moved);
  if (!moved || a.file) return;
  if (a.input) consumed(*a.d, moved);
  else owner_window(*a.d).add(a.d->out_bytes, moved);
}

void take_back(const quick_answer& a) {
  if (a.slot >= abi::rule_max) return;
  count_operation(a, ~std::uint64_t{0});
  if (a.counted) count_calls(a.slot, ~std::uint64_t{0}, 0);
}

}  // namespace chaos::hooks
