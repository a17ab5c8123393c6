// What applications call on purpose: notes on the timeline, and breakers that chaos-ctl can reach. All of it is C, found
// by weak symbol or dlsym, and does nothing while there is no session.
#include <string.h>

#include "preload/runtime/report.hpp"

#define CHAOS_API extern "C" __attribute__((visibility("default")))

// 0: the note stands on the timeline.
CHAOS_API int chaos_annotate(const char* category, const char* text) {
  if (!category || !text) return -1;
  char both[sizeof chaos::abi::event::text] = {};
  const std::size_t c = strnlen(category, 24), t = strnlen(text, sizeof both - 1 - c - 1);
  memcpy(both, category, c);
  memcpy(both + c + 1, text, t);
  return chaos::publish_plain(chaos::abi::event_kind::annotation, both, c + 1 + t) ? 0 : -1;
}

namespace {

using chaos::abi::report_page;
constexpr std::int32_t being_filled = -1;

// Where this process's breaker of that name is, and the first slot that nobody has (report_page::breaker_max: none).
struct places {
  std::uint32_t ours = report_page::breaker_max, free = report_page::breaker_max;
  std::int32_t free_holder = 0;  // who had that one
  bool one_is_being_filled = false;
};

places look_for(const char* name) {
  places found;
  // what this process was before an exec has slots of its pid, from before it attached
  const std::uint64_t attached = chaos::self.attach_index ? chaos::report->attached[chaos::self.attach_index - 1].attached_ns : 0;
  for (std::uint32_t i = 0; i < report_page::breaker_max; ++i) {
    auto& s = chaos::report->breakers[i];
    const std::int32_t holder = s.pid.load(std::memory_order_acquire);
    if (holder < 0) {
      found.one_is_being_filled = true;
    } else if (holder == chaos::self.pid && s.changed_ns.load(std::memory_order_relaxed) >= attached) {
      if (strncmp(s.name, name, sizeof s.name - 1) != 0) continue;
      found.ours = i;
      return found;
    } else if (found.free == report_page::breaker_max &&
               (holder == 0 || holder == chaos::self.pid || chaos::sys::call(SYS_kill, holder, 0) == -ESRCH)) {
      found.free = i;
      found.free_holder = holder;
    }
  }
  return found;
}

}  // namespace

// A slot (from 1) for a breaker of this process, the one that it has already if there is one; 0 when there is none to be had.
CHAOS_API std::uint32_t chaos_breaker_slot(const char* name) {
  constexpr int patience = 100;  // for another thread's slot, which may turn out to be of this name
  constexpr int looks_max = 1000;
  if (!chaos::report || !name) return 0;
  chaos::renew_after_fork();
  for (int looks = 0; looks < looks_max; ++looks) {
    places found = look_for(name);
    if (found.ours != report_page::breaker_max) return found.ours + 1;
    if (found.one_is_being_filled && looks < patience) {  // for ever by one who was killed meanwhile
      chaos::sys::call(SYS_sched_yield);
      continue;
    }
    if (found.free == report_page::breaker_max) return 0;
    auto& s = chaos::report->breakers[found.free];
    if (!s.pid.compare_exchange_strong(found.free_holder, being_filled, std::memory_order_acq_rel)) continue;
    strncpy(s.name, name, sizeof s.name - 1);
    s.name[sizeof s.name - 1] = 0;
    s.state.store(0, std::memory_order_relaxed);
    for (auto* counter : {&s.calls_ok, &s.calls_failed, &s.rejected}) counter->store(0, std::memory_order_relaxed);
    s.changed_ns.store(chaos::sys::now_ns(), std::memory_order_relaxed);
    s.pid.store(chaos::self.pid, std::memory_order_release);
    return found.free + 1;
  }
  return 0;
}

CHAOS_API const volatile std::uint32_t* chaos_breaker_generation(void) {
  return reinterpret_cast<const volatile std::uint32_t*>(&chaos::page->breaker_generation);
}

// The command in force for the breaker of this slot; 0: none, and none is in force without a daemon that answers for it.
// `sequence` grows with each new one.
CHAOS_API std::uint32_t chaos_breaker_command(std::uint32_t slot, std::uint32_t* sequence) {
  using chaos::report;
  if (!report || slot == 0 || slot > chaos::abi::report_page::breaker_max) return 0;
  if (!chaos::lease_holds(chaos::sys::now_ns())) return 0;
  const char* name = report->breakers[slot - 1].name;
  for (const auto& c : chaos::page->breakers) {
    if (!c.name[0] || strncmp(c.name, name, sizeof c.name) != 0) continue;
    if (sequence) *sequence = c.sequence.load(std::memory_order_acquire);
    return c.command.load(std::memory_order_relaxed);
  }
  return 0;
}

CHAOS_API void chaos_breaker_publish(std::uint32_t slot, std::uint32_t state, std::uint64_t ok, std::uint64_t failed, std::uint64_t rejected) {
  using chaos::report;
  if (!report || slot == 0 || slot > chaos::abi::report_page::breaker_max) return;
  auto& s = report->breakers[slot - 1];
  if (s.state.exchange(state, std::memory_order_relaxed) != state) s.changed_ns.store(chaos::sys::now_ns(), std::memory_order_relaxed);
  s.calls_ok.store(ok, std::memory_order_relaxed);
  s.calls_failed.store(failed, std::memory_order_relaxed);
  s.rejected.store(rejected, std::memory_order_relaxed);
}
