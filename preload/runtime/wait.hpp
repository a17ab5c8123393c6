// Waiting on behalf of a fault: no descriptor, no lock, woken at once when the rules change.
#pragma once
#include <cstdint>

#include "shares.hpp"
#include "syscalls.hpp"

namespace chaos {

enum class waited : std::uint8_t { due, lifted, interrupted };

// Sleeps until `due_ns` (monotonic), or until `rule_id` (0: any) is no longer in force, or until a signal arrives whose
// handler was installed without SA_RESTART. To the point: timer slack is set to 1 ns around the wait, and put back, and the last
// part is spun. Who only looks again then (a slice) does without.
waited hold_until(std::uint64_t due_ns, std::uint32_t rule_id, bool to_the_point = true);

// What several rules hold since `from_ns`, but no longer than `until_ns` (~0: that is not bounded): a rule that ends meanwhile takes its
// share along, so that the wait is over when what is left of the others' is served. `due` only when all of it was, or at `until_ns`.
waited hold_for(std::uint64_t from_ns, const shares& held, std::uint64_t until_ns = ~std::uint64_t{0});

// True when a call that returned EINTR would have been restarted by the kernel: every handler has SA_RESTART.
bool restarts_after_signal();

// Timer slack of the calling thread set to 1 ns for the life of the object.
class precise_timer {
 public:
  explicit precise_timer(bool wanted = true);
  void restore();  // explicit, not a destructor: none may be alive across a cancellation point
 private:
  long slack_;
};

inline constexpr std::uint64_t slice_ns = 8'000'000;    // waits look at the rules at least so often while holding: a removal lets go within 10 ms
inline constexpr std::uint64_t spin_ns = 50'000;        // the last part of a precise wait is spun
void spin_until(std::uint64_t due_ns);

// One wait of the kernel's for whatever `wait` waits for, at most until something held is due. A sleeper wakes tens of
// microseconds late, so the last part is spent asking again and again: all else that happens is told of at once. Once in
// a call of the program's (`spun`). Returns what `wait` does; 0: due.
template <class Wait>
int wait_until_due(std::uint64_t due_ns, bool& spun, Wait wait) {
  const auto rest_until = [](std::uint64_t t) { const std::uint64_t now = sys::now_ns(); return sys::span(t > now ? t - now : 0); };
  const timespec rest = rest_until(spun ? due_ns : due_ns - spin_ns), none = {0, 0};
  if (const int n = wait(&rest); n != 0 || spun) return n;
  spun = true;
  while (sys::now_ns() < due_ns)
    if (const int n = wait(&none)) return n;
  return 0;
}

}  // namespace chaos
