// Counters that many threads and processes add to at every matched call. A locked addition next to a system call costs
// about 25 ns (it waits for what the kernel left in the store buffer), so each CPU has words of its own in the report page,
// and a restartable sequence (rseq(2), registered by glibc ≥ 2.35) adds to the right one. Where there is none, or it was
// interrupted, the addition is locked. A reader sums.
#pragma once
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include <atomic>
#include <cstdint>

#include "process.hpp"

namespace chaos {

struct rseq_area;  // the kernel's; one a thread
[[gnu::visibility("hidden")]] extern std::ptrdiff_t rseq_offset;  // from the thread pointer; known from start-up on
[[gnu::visibility("hidden")]] extern bool rseq_registered;        // else it is that of an area which stands for it
void find_rseq();

#if defined(__x86_64__)
// False when the CPU has no words of its own, there is no rseq, or the sequence was interrupted: then with a lock.
// Both words are changed by one store, the last instruction of the sequence.
[[gnu::always_inline]] inline bool add_on_this_cpu(abi::rule_lane& of_first_cpu, std::uint64_t matched, std::uint64_t bytes) {
  static_assert(sizeof(abi::report_page::lanes[0]) == 4096, "the shift below");
  const __m128i both = _mm_set_epi64x(static_cast<long long>(bytes), static_cast<long long>(matched));
  asm goto(
      ".pushsection __rseq_cs, \"aw\"\n"
      ".balign 32\n"
      "3: .long 0, 0\n"
      "   .quad 1f, 2f - 1f, 4f\n"
      ".popsection\n"
      "   leaq 3b(%%rip), %%rax\n"
      "   movq %%rax, %%fs:8(%[area])\n"  // rseq.rseq_cs
      "1: movl %%fs:4(%[area]), %%eax\n"  // rseq.cpu_id
      "   cmpl %[cpus], %%eax\n"
      "   jae %l[not_done]\n"
      "   shlq $12, %%rax\n"
      "   movdqa (%[first], %%rax), %%xmm0\n"
      "   paddq %[both], %%xmm0\n"
      "   movdqa %%xmm0, (%[first], %%rax)\n"
      "2:\n"
      ".pushsection __rseq_failure, \"ax\"\n"
      "   .byte 0x0f, 0xb9, 0x3d\n"       // ud1, and the signature that glibc registered
      "   .long 0x53053053\n"
      "4: jmp %l[not_done]\n"
      ".popsection\n"
      :
      : [area] "r"(rseq_offset), [first] "r"(&of_first_cpu), [both] "x"(both), [cpus] "i"(abi::lane_max)
      : "rax", "xmm0", "memory", "cc"
      : not_done);
  return true;
not_done:
  return false;
}
#else
inline bool add_on_this_cpu(abi::rule_lane&, std::uint64_t, std::uint64_t) { return false; }
#endif

// `of_first_cpu`: lanes[0] of the rule's slot.
void count_calls_locked(const abi::rule_lane& of_first_cpu, std::uint64_t matched, std::uint64_t bytes);  // report.cpp
[[gnu::always_inline]] inline void count_calls(abi::rule_lane& of_first_cpu, std::uint64_t matched, std::uint64_t bytes) {
  if (!add_on_this_cpu(of_first_cpu, matched, bytes)) count_calls_locked(of_first_cpu, matched, bytes);
}
inline void count_calls(unsigned slot, std::uint64_t matched, std::uint64_t bytes) { count_calls(report->lanes[0][slot], matched, bytes); }
inline std::ptrdiff_t slot_of(const abi::rule_lane& of_first_cpu) { return &of_first_cpu - report->lanes[0]; }

}  // namespace chaos
