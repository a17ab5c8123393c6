// Expands functions.def into the hooks themselves. This is the only file that defines libc's names.
//
// Idle, a hook is: load the page pointer, test this function's classes, jump to libc. Everything else is out of line.
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include <type_traits>

#include "own.hpp"
#include "stdio.hpp"
#include "transfers.hpp"

#pragma GCC diagnostic ignored "-Wignored-attributes"
#pragma GCC diagnostic ignored "-Wunused-parameter"

namespace chaos::hooks {
namespace {

// Look-ups are always noted (see ARCHITECTURE: rules by name arrive after them), so dns hooks never take the idle way.
constexpr bool always_awake(abi::class_set c) { return c & abi::classes::dns; }

// An argument that may come back with descriptors in it, which must be looked at afterwards.
template <class T>
constexpr bool brings_descriptors(T) { return false; }
inline bool brings_descriptors(msghdr* m) { return may_bring_descriptors(m); }

template <class Ret, class Real>
Ret allocate(abi::function_id self, std::size_t n, const void* caller, Real real_call) {
  int error = 0;
  if (allocation_fails(self, n, caller, error)) {
    if constexpr (__is_same(Ret, int)) return error;
    else { errno = error; return nullptr; }
  }
  if constexpr (__is_same(Ret, int)) return real_call();
  else {
    Ret p = real_call();
    note_allocated(p);
    return p;
  }
}

// --- what stands in the `slow` column
#define FACTS(...) [&]() -> call { return call{__VA_ARGS__}; }
#define GENERIC(...) (run<self, ret>(FACTS(__VA_ARGS__), caller, real_call))
#define CLOSES(...) GENERIC(__VA_ARGS__)
#define CHANGES(...) changed(call{__VA_ARGS__}.fd, GENERIC(__VA_ARGS__))
#define OPENS(...) made(run<self, ret>(FACTS(__VA_ARGS__), caller, real_call))
#define OPENS_STREAM(...) made_stream(run<self, ret>(FACTS(__VA_ARGS__), caller, real_call))
#define MAKES(...) made(run<self, ret>(FACTS(__VA_ARGS__), caller, real_call))
#define MAKES_PAIR(pair) made_pair(pair, run<self, ret>(FACTS(), caller, real_call))
#define STDIO(...) (run<self, ret>(FACTS(__VA_ARGS__), caller, real_call))
#define ALLOC(bytes) allocate<ret>(self, bytes, caller, real_call)

int made(int fd) {
  if (fd >= 0) forget(fd);
  return fd;
}
int made_pair(const int* pair, int result) {
  if (result == 0) { forget(pair[0]); forget(pair[1]); }
  return result;
}
FILE* made_stream(FILE* stream) {
  if (stream) forget(fileno(stream));
  return stream;
}
int changed(int fd, int result) {
  reclassify(fd);
  return result;
}

#define HOOK_ABI(symbol, kinds, fails_by, returns, parameters, arguments, errnos, slow)       \
  [[gnu::noinline]] returns slow_##symbol parameters {                               \
    using ret [[maybe_unused]] = returns;                                                       \
    [[maybe_unused]] constexpr auto self = abi::function_id::symbol;                            \
    [[maybe_unused]] const void* caller = __builtin_return_address(0);                          \
    [[maybe_unused]] const auto real_call = [&]() -> returns { return real.symbol arguments; }; \
    return slow;                                                                                \
  }
#define HOOK HOOK_ABI
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI

#define CHAOS_SPREAD(...) __VA_ARGS__

// The one rule that is to be asked says no → libc, and what it moved is counted. Else the common road, by a jump. In two steps
// (quick_no.hpp), for descriptors whose rules are known; this is the second.
template <abi::function_id self, class Ret, class... Rest>
[[gnu::always_inline]] inline Ret shared(Ret (*const& real_call)(int, Rest...), Ret (*slow)(int, Rest...), int fd, Rest... rest) {
  constexpr abi::class_set mine = abi::function_table[static_cast<unsigned>(self)].classes;
  if constexpr (is_quick(self)) {
    descriptor& d = descriptor_table[fd];
    const quick_answer answer = ask_quickly(d, quick_bit(self), mine, has_receive_flags(mine) ? flags_among(rest...) : 0);
    if (answer) {
      const abi::class_set acts_as = mine & d.role;
      const long result = static_cast<long>(real_call(fd, rest...));
      if (acts_as & (abi::classes::file_io | abi::classes::sync)) return static_cast<Ret>(settle_file(sole_of(d, acts_as), answer, result));
      return static_cast<Ret>(settle<counted::before>(d, answer, acts_as & abi::classes::stream_in, result));
    }
  }
  return slow(fd, rest...);
}
template <abi::function_id self, class Ret, class... All>
[[gnu::always_inline]] inline Ret shared(Ret (*const&)(All...), Ret (*slow)(All...), All... all) { return slow(all...); }

#define HOOK_ABI(symbol, kinds, fails_by, returns, parameters, arguments, ...)                      \
  [[gnu::noinline]] returns shared_##symbol parameters {                                            \
    return shared<abi::function_id::symbol>(real.symbol, &slow_##symbol, CHAOS_SPREAD arguments);   \
  }
#define HOOK HOOK_ABI
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI

// The first step, a part of the function below that looks the descriptor up.
// Moves what was found to a register of its own, or what only the road behind it needs would be saved before the look-up.
[[gnu::always_inline]] inline descriptor& from_here(descriptor* found) {
  descriptor* d = found;
#if defined(__x86_64__)
  asm("movq %1, %0" : "=&r"(d) : "r"(found));
#endif
  return *d;
}
template <abi::function_id self, class Ret, class... Rest>
[[gnu::always_inline]] inline Ret matched(Ret (*const& real_call)(int, Rest...), Ret (*otherwise)(int, Rest...), descriptor* found, int fd, Rest... rest) {
  constexpr abi::class_set mine = abi::function_table[static_cast<unsigned>(self)].classes;
  constexpr bool all_in_registers = sizeof...(Rest) < 6;  // else there would be a frame from the start
  if constexpr (is_quick(self) && (mine & abi::classes::streams) != 0 && all_in_registers) {
    constexpr bool input = (mine & abi::classes::stream_in) != 0;
    if (!has_receive_flags(mine) || !(flags_among(rest...) & (MSG_PEEK | beside_the_queue))) {
      constexpr counted when = input ? counted::after : counted::before;
      descriptor& d = from_here(found);
      const quick_answer answer = ask_alone<when>(d, input ? d.sole_in : d.sole_out, quick_bit(self));
      if (__builtin_expect(answer != nullptr, 1)) return static_cast<Ret>(settle<when>(d, answer, input, static_cast<long>(real_call(fd, rest...))));
    }
  }
  return otherwise(fd, rest...);
}
template <abi::function_id self, class Ret, class... All>
[[gnu::always_inline]] inline Ret matched(Ret (*const&)(All...), Ret (*otherwise)(All...), descriptor*, All... all) { return otherwise(all...); }

// While a rule holds the whole process, every call waits first.
#define HOOK_ABI(symbol, kinds, fails_by, returns, parameters, arguments, ...) \
  [[gnu::noinline, gnu::cold]] returns waiting_##symbol parameters {           \
    wait_with_the_others();                                                    \
    return slow_##symbol arguments;                                            \
  }
#define HOOK HOOK_ABI
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI

// Armed: no rule can match this descriptor → straight to libc, by a jump. A function of its own, so that the hook stays as
// short as it is.
enum class rules_on : std::uint8_t { unknown, none, some };
template <abi::function_id self, class First, class... Rest>
[[gnu::always_inline]] inline rules_on look_up(descriptor*& found, First first, Rest... rest) {
  if constexpr (moves_over_one(self) && __is_same(First, int)) {
    if (static_cast<unsigned>(first) >= descriptor_count || (brings_descriptors(rest) || ...)) return rules_on::unknown;
    found = &descriptor_table[first];
    const std::uint64_t head = found->head.load(std::memory_order_relaxed);
    const auto is_known = [&] { return generation_of(head) == page->generation.load(std::memory_order_relaxed); };
    if (head & abi::function_table[static_cast<unsigned>(self)].classes) return is_known() ? rules_on::some : rules_on::unknown;
    return is_known() ? rules_on::none : rules_on::unknown;  // asked on either side: one register less
  }
  return rules_on::unknown;
}
#define HOOK_ABI(symbol, kinds, fails_by, returns, parameters, arguments, ...)                                      \
  [[gnu::noinline]] returns armed_##symbol parameters {                                                             \
    if (__builtin_expect(others_paused(), 0)) return waiting_##symbol arguments;                                    \
    descriptor* found = nullptr;                                                                                    \
    const rules_on those = look_up<abi::function_id::symbol>(found, CHAOS_SPREAD arguments);                        \
    if (those == rules_on::none) return real.symbol arguments;                                                      \
    if (those == rules_on::some)                                                                                    \
      return matched<abi::function_id::symbol>(real.symbol, &shared_##symbol, found, CHAOS_SPREAD arguments);       \
    return slow_##symbol arguments;                                                                                 \
  }
#define HOOK HOOK_ABI
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI

}  // namespace
}  // namespace chaos::hooks

#define HOOK_ABI(symbol, kinds, fails_by, returns, parameters, arguments, ...)                                      \
  extern "C" [[gnu::visibility("default")]] returns chaos_##symbol parameters __asm__(#symbol);                      \
  extern "C" returns chaos_##symbol parameters {                                                                      \
    constexpr chaos::abi::class_set mine = chaos::abi::function_table[static_cast<unsigned>(chaos::abi::function_id::symbol)].classes; \
    if (!chaos::hooks::always_awake(mine) &&                                                                          \
        __builtin_expect(!(chaos::page->armed_classes.load(std::memory_order_relaxed) & mine), 1))                   \
      return chaos::real.symbol arguments;                                                                            \
    return chaos::hooks::armed_##symbol arguments;                                                                    \
  }
#define HOOK(symbol, kinds, fails_by, returns, parameters, arguments, ...)                                          \
  static_assert(std::is_convertible_v<decltype(&::symbol), returns(*) parameters>, #symbol ": not libc's signature"); \
  HOOK_ABI(symbol, kinds, fails_by, returns, parameters, arguments)
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI
