// Counters that many threads and processes add to at every matched call. A locked addition next to a system call costs
// about 25 ns (it waits for what the kernel left in the store buffer), so each CPU has words of its own in the report page,
// and a restartable sequence (rseq(2), registered by glibc ≥ 2.35) adds to the right one or starts again. Where there is
// none, the addition is locked. A reader sums.
#pragma once
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include <atomic>
#include <cstdint>

#include "process.hpp"

namespace chaos {

struct rseq_area;  // the kernel's; one a thread
[[gnu::visibility("hidden")]] extern std::ptrdiff_t rseq_offset;  // from the thread pointer; 0: none
void find_rseq();

#if defined(__x86_64__)
// False when the CPU has no words of its own, or the sequence was interrupted again and again (a debugger steps).
// Both words are changed by one store, the last instruction of the sequence.
[[gnu::always_inline]] inline bool add_on_this_cpu(abi::rule_lane& of_first_cpu, std::uint64_t matched, std::uint64_t bytes) {
  static_assert(sizeof(abi::report_page::lanes[0]) == 4096, "the shift below");
  if (!rseq_offset) return false;
  char* const area = static_cast<char*>(__builtin_thread_pointer()) + rseq_offset;
  const __m128i both = _mm_set_epi64x(static_cast<long long>(bytes), static_cast<long long>(matched));
  for (int tries = 0; tries < 8; ++tries) {
    asm goto(
        ".pushsection __rseq_cs, \"aw\"\n"
        ".balign 32\n"
        "3: .long 0, 0\n"
        "   .quad 1f, 2f - 1f, 4f\n"
        ".popsection\n"
        "   leaq 3b(%%rip), %%rax\n"
        "   movq %%rax, 8(%[area])\n"      // rseq.rseq_cs
        "1: movl 4(%[area]), %%eax\n"      // rseq.cpu_id
        "   cmpl %[cpus], %%eax\n"
        "   jae %l[none]\n"
        "   shlq $12, %%rax\n"
        "   movdqa (%[first], %%rax), %%xmm0\n"
        "   paddq %[both], %%xmm0\n"
        "   movdqa %%xmm0, (%[first], %%rax)\n"
        "2:\n"
        ".pushsection __rseq_failure, \"ax\"\n"
        "   .byte 0x0f, 0xb9, 0x3d\n"      // ud1, and the signature that glibc registered
        "   .long 0x53053053\n"
        "4: jmp %l[again]\n"
        ".popsection\n"
        :
        : [area] "r"(area), [first] "r"(&of_first_cpu), [both] "x"(both), [cpus] "i"(abi::lane_max)
        : "rax", "xmm0", "memory", "cc"
        : none, again);
    return true;
  again:;
  }
none:
  return false;
}
#else
inline bool add_on_this_cpu(abi::rule_lane&, std::uint64_t, std::uint64_t) { return false; }
#endif

inline void count_calls(unsigned slot, std::uint64_t matched, std::uint64_t bytes) {
  if (add_on_this_cpu(report->lanes[0][slot], matched, bytes)) return;
  if (matched) report->rules[slot].matched.fetch_add(matched, std::memory_order_relaxed);
  if (bytes) report->rules[slot].bytes.fetch_add(bytes, std::memory_order_relaxed);
}

}  // namespace chaos
