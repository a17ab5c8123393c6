// pause and crash: what a rule does to the whole thread or process, whichever call it met.
#include "hook.hpp"
#include "outcome.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {

constinit std::atomic<std::uint64_t> all_paused_until{0};

namespace {

constinit std::atomic<std::uint32_t> all_paused_by{0};

}  // namespace

bool serve_pause(decision& made, std::int32_t& error) {
  const effects::verdict& v = made.verdict;
  if (!v.pause_ns) return true;
  const std::uint64_t until = made.now_ns + v.pause_ns;
  shares held;
  for (unsigned i = 0; i < made.judged.count; ++i) {
    core::fired_rule& r = made.judged.fired[i];
    if (r.kind != abi::effect::pause || r.dry_run) continue;
    r.delay_ns = r.asked_delay_ns;  // a signal may have ended the attempt before
    held.add(r.id, r.delay_ns);
    if (r.flags & abi::rule_flags::process_wide) all_paused_by.store(r.id, std::memory_order_relaxed);
  }
  if (v.pause_all) all_paused_until.store(until, std::memory_order_release);
  const waited w = hold_for(made.now_ns, held);
  if (w != waited::due) let_go_early(made, core::of(abi::effect::pause), sys::now_ns() - made.now_ns);
  if (w != waited::interrupted) return true;
  error = EINTR;
  return false;
}

void wait_with_the_others() {
  if (inside()) return;
  std::uint64_t until = all_paused_until.load(std::memory_order_acquire);
  const bool another_process = !fork_witness || !fork_witness->load(std::memory_order_relaxed);  // forked from one that waits
  waited how = waited::due;
  if (!another_process && sys::now_ns() < until) {
    inside_scope work;
    how = hold_until(until, all_paused_by.load(std::memory_order_relaxed));
    work.end();
  }
  if (how != waited::interrupted) all_paused_until.compare_exchange_strong(until, 0, std::memory_order_relaxed);
}

void end_process(const decision& made) {
  const core::fired_rule& r = *made.verdict.ender;
  const bool exits = r.flags & abi::rule_flags::exit_code;
  const int number = r.number;
  for (;;) {
    if (exits) sys::call(SYS_exit_group, number);
    sys::call(SYS_kill, sys::pid(), number > 0 && number < 65 ? number : SIGKILL);
    // Handled, ignored or blocked: a moment for the handler, then what can not be refused.
    const timespec moment{0, 50'000'000};
    sys::call(SYS_nanosleep, &moment, nullptr);
    sys::call(SYS_kill, sys::pid(), SIGKILL);
  }
}

}  // namespace chaos::hooks
