// Words of a connection that one thread changes again and again (operations, bytes). As long as only one thread uses the
// connection it owns them and adds without a lock, for the reason that lanes.hpp gives. The first other thread that
// comes takes the ownership away for good: biased locking with an asymmetric fence (Dice, Moir, Scherer: "Quickly
// Reacquirable Locks", 2003). Asking who the owner is and adding are one restartable sequence (rseq(2)), and the fence is
// membarrier(2), which starts again whoever is in one: afterwards nobody adds as the owner that was.
#pragma once
#include <cstddef>

#include "descriptors.hpp"
#include "lanes.hpp"

namespace chaos {

inline constexpr std::int32_t shared_by_threads = -1;  // descriptor::owner

// Only with rseq does a thread own anything.
#if defined(__x86_64__)
static_assert(offsetof(thread_state, tid) == 0 && offsetof(thread_state, depth) == 4, "compared with the owner as one word");
#define CHAOS_AS_OWNER(ADDITION)                                                              \
  ".pushsection __rseq_cs, \"aw\"\n"                                                          \
  ".balign 32\n"                                                                              \
  "3: .long 0, 0\n"                                                                           \
  "   .quad 1f, 2f - 1f, 4f\n"                                                                \
  ".popsection\n"                                                                             \
  "   leaq 3b(%%rip), %%rax\n"                                                                \
  "   movq %%rax, %%fs:8(%[area])\n"     /* rseq.rseq_cs */                                   \
  "1: movl %[owner], %%eax\n"            /* its upper half becomes 0 */                       \
  "   cmpq %%rax, %%fs:(%[thread])\n"    /* tid, and depth 0 */                               \
  "   jne %l[not_done]\n"                                                                     \
  ADDITION                                                                                    \
  "2:\n"                                                                                      \
  ".pushsection __rseq_failure, \"ax\"\n"                                                     \
  "   .byte 0x0f, 0xb9, 0x3d\n"          /* ud1, and the signature that glibc registered */   \
  "   .long 0x53053053\n"                                                                     \
  "4: jmp %l[not_done]\n"                                                                     \
  ".popsection\n"
[[gnu::always_inline]] inline std::ptrdiff_t offset_of_this_thread() { return reinterpret_cast<char*>(&this_thread) - static_cast<char*>(__builtin_thread_pointer()); }
#endif

// Adds as the owner of the connection. False: nothing was done, since this thread is not, or is at work for us just now, or was
// interrupted in the sequence: then with a lock, which is right in any case.
[[gnu::always_inline]] inline bool add_as_owner([[maybe_unused]] const descriptor& d, [[maybe_unused]] std::atomic<std::uint64_t>& word, [[maybe_unused]] std::uint64_t n) {
#if defined(__x86_64__)
  asm goto(CHAOS_AS_OWNER("   addq %[n], %[word]\n")
           : : [area] "r"(rseq_offset), [owner] "m"(d.owner), [thread] "r"(offset_of_this_thread()), [n] "er"(n), [word] "m"(word)
           : "rax", "memory", "cc" : not_done);
  return true;
not_done:
#endif
  return false;
}
// The next number of the word, the same way.
[[gnu::always_inline]] inline bool take_as_owner([[maybe_unused]] const descriptor& d, [[maybe_unused]] std::atomic<std::uint64_t>& word, [[maybe_unused]] std::uint64_t& before) {
#if defined(__x86_64__)
  std::uint64_t n = 1;
  asm goto(CHAOS_AS_OWNER("   xaddq %[n], %[word]\n")
           : [n] "+r"(n) : [area] "r"(rseq_offset), [owner] "m"(d.owner), [thread] "r"(offset_of_this_thread()), [word] "m"(word)
           : "rax", "memory", "cc" : not_done);
  before = n;
  return true;
not_done:
#endif
  return false;
}
#undef CHAOS_AS_OWNER
// 0: the thread is the owner, and not at work for us.
[[gnu::always_inline]] inline std::uint64_t somebody_else(const descriptor& d) {
  std::uint64_t tid_and_depth;
  __builtin_memcpy(&tid_and_depth, &this_thread, sizeof tid_and_depth);
  return tid_and_depth ^ static_cast<std::uint32_t>(d.owner.load(std::memory_order_relaxed));
}

// An addition by whoever it is.
[[gnu::always_inline]] inline void add_to(const descriptor& d, std::atomic<std::uint64_t>& word, std::uint64_t n) {
  if (__builtin_expect(!add_as_owner(d, word, n), 0)) word.fetch_add(n, std::memory_order_relaxed);
}

// At start-up, while there is one thread: later the kernel would let all of them wait for some 10 ms.
void prepare_owners();

// A connection that nobody owns becomes ours; one that another thread owns becomes everybody's. Call before changing its words.
void change_owner(descriptor& d);
inline void own_or_share(descriptor& d) {
  const std::int32_t owner = d.owner.load(std::memory_order_relaxed);
  if (owner != shared_by_threads && owner != this_thread.tid) change_owner(d);
}

}  // namespace chaos
