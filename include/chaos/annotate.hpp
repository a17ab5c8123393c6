// Application events on the timeline of the fault injector.
//
//   chaos::annotate("shop", "served from PostgreSQL");
//
// With libchaos.so preloaded the event stands beside the injections in `chaos-ctl watch`; without it nothing happens
// and the call costs one load. From another language: dlsym(RTLD_DEFAULT, "chaos_annotate").
// Thread-safety: any thread. Errors: false when the event did not go on the timeline; never throws.
// The C functions below are weak: libchaos.so defines them. Hazard: a program linked without PIE may have its weak
// references settled to null by the link editor; it then behaves as it would without the shim.
#pragma once
#include <cstdint>

extern "C" {
// Returns 0 when the event went on the timeline.
int chaos_annotate(const char* category, const char* text) __attribute__((weak));
// Registers a breaker by name; returns a slot id > 0, or 0 when there is no room.
std::uint32_t chaos_breaker_slot(const char* name) __attribute__((weak));
// Address of a word that changes whenever commands for breakers change.
const volatile std::uint32_t* chaos_breaker_generation(void) __attribute__((weak));
// Command in force for a slot: 0 none, 1 open, 2 close, 3 disable, 4 reset, 5 metrics_only. `sequence` grows with
// each.
std::uint32_t chaos_breaker_command(std::uint32_t slot, std::uint32_t* sequence) __attribute__((weak));
void chaos_breaker_publish(std::uint32_t slot, std::uint32_t state, std::uint64_t calls_ok,
                           std::uint64_t calls_failed, std::uint64_t rejected) __attribute__((weak));
}

namespace chaos {

// Is there a timeline? Lets a caller skip the making of text.
inline bool annotating() noexcept { return &chaos_annotate != nullptr; }

inline bool annotate(const char* category, const char* text) noexcept {
  return annotating() && chaos_annotate(category, text) == 0;
}

}  // namespace chaos
