// The whole state of a breaker in one 64-bit word, so that a transition is one compare-and-swap and nobody can see a
// state without its deadline.
//
//   kind:3 | generation:21 | payload:40
//   OPEN       payload = deadline in ticks of 65,536 ns (2^16), modulo 2^40
//   HALF_OPEN  payload = deadline:20 in ticks of 16.8 ms (2^24 ns), modulo 2^20 | succeeded:10 | outstanding:10
//
// Deadlines wrap. No deadline is ever further ahead than the longest permitted time-out, so "ahead by no more than
// that" means pending and anything else means due.
// Thread-safety: pure functions. Units: in the names. Errors: none; generation 0 is skipped so that no word is 0.
#pragma once
#include <cstdint>

namespace chaos {

enum class state : std::uint8_t { closed, open, half_open, forced_open, disabled, metrics_only };

inline constexpr const char* to_string(state s) noexcept {
  constexpr const char* names[] = {"closed", "open", "half_open", "forced_open", "disabled", "metrics_only"};
  return names[static_cast<unsigned>(s) < 6 ? static_cast<unsigned>(s) : 0];
}

namespace detail {

inline constexpr std::uint64_t payload_mask = (1ull << 40) - 1, generation_mask = (1ull << 21) - 1;
inline constexpr std::uint64_t count_mask = 1023, half_open_tick_mask = (1ull << 20) - 1;
inline constexpr unsigned open_tick_shift = 16, half_open_tick_shift = 24;
// Validation keeps time-outs below these, half of what the fields can tell apart.
inline constexpr std::uint64_t recovery_max_ns = 365ull * 86'400 * 1'000'000'000;
inline constexpr std::uint64_t half_open_timeout_max_ns = 2ull * 3600 * 1'000'000'000;

constexpr std::uint64_t make_word(state s, std::uint64_t generation, std::uint64_t payload = 0) noexcept {
  return static_cast<std::uint64_t>(s) << 61 | (generation & generation_mask) << 40 | (payload & payload_mask);
}
constexpr state state_of(std::uint64_t w) noexcept { return static_cast<state>(w >> 61); }
constexpr std::uint64_t generation_of(std::uint64_t w) noexcept { return w >> 40 & generation_mask; }
constexpr std::uint64_t next_generation(std::uint64_t w) noexcept {
  const std::uint64_t g = (generation_of(w) + 1) & generation_mask;
  return g ? g : 1;
}
// A permit belongs to a word when kind and generation agree.
constexpr bool same_period(std::uint64_t a, std::uint64_t b) noexcept { return a >> 40 == b >> 40; }

constexpr std::uint64_t open_payload(std::uint64_t deadline_ns) noexcept {
  return ((deadline_ns + (1ull << open_tick_shift) - 1) >> open_tick_shift) &
         payload_mask;  // rounded up: never early
}
// Nanoseconds until an OPEN word may be probed; 0 = due.
constexpr std::uint64_t open_remaining_ns(std::uint64_t w, std::uint64_t now_ns) noexcept {
  const std::uint64_t ticks = ((w & payload_mask) - (now_ns >> open_tick_shift)) & payload_mask;
  if (ticks == 0 || ticks > (recovery_max_ns >> open_tick_shift) + 1) return 0;
  return (ticks << open_tick_shift) - (now_ns & ((1ull << open_tick_shift) - 1));
}

constexpr std::uint64_t outstanding_of(std::uint64_t w) noexcept { return w & count_mask; }
constexpr std::uint64_t succeeded_of(std::uint64_t w) noexcept { return w >> 10 & count_mask; }
constexpr std::uint64_t half_open_payload(std::uint64_t deadline_ns, std::uint64_t succeeded,
                                          std::uint64_t outstanding) noexcept {
  const std::uint64_t tick = (deadline_ns + (1ull << half_open_tick_shift) - 1) >> half_open_tick_shift;
  return (tick & half_open_tick_mask) << 20 | succeeded << 10 | outstanding;
}
// Has the deadline of a HALF_OPEN word passed, and if so, when was it? (An idle one does not lapse: see core.hpp.)
constexpr bool half_open_lapsed(std::uint64_t w, std::uint64_t now_ns, std::uint64_t* deadline_ns) noexcept {
  const std::uint64_t now_tick = now_ns >> half_open_tick_shift;
  const std::uint64_t ahead = ((w >> 20) - now_tick) & half_open_tick_mask;
  if (ahead != 0 && ahead <= (half_open_timeout_max_ns >> half_open_tick_shift) + 1) return false;
  const std::uint64_t behind = (now_tick - (w >> 20)) & half_open_tick_mask;
  *deadline_ns = (now_tick - behind) << half_open_tick_shift;
  return true;
}

static_assert(make_word(state::closed, 1) != 0 && state_of(make_word(state::metrics_only, 7)) == state::metrics_only);
static_assert(open_remaining_ns(make_word(state::open, 1, open_payload(1ull << 40)), 1ull << 40) == 0);

}  // namespace detail
}  // namespace chaos
