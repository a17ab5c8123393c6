// The clock of the client library: monotonic nanoseconds, read past any interposition of clock_gettime.
//
//   chaos::manual_clock clock;                              // a test
//   chaos::breaker b{"redis", {.clock = &clock}};
//   clock.advance(30s);
//
// A fault injector (ours, libfaketime, ...) may hook clock_gettime() and even syscall(). A breaker that believed
// such a clock would have its recovery moved by the fault that it is meant to survive. So the vDSO's own function is
// looked up in the image that the kernel mapped (about 20 ns a read), and where there is none the system call is made
// by instruction.
// Thread-safety: all functions may be called from any thread. Units: nanoseconds since boot. Errors: none.
#pragma once
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>

namespace chaos {

// Where a breaker, cache or retry gets its time from. An implementation must not go backwards.
struct clock_source {
  virtual std::uint64_t now_ns() const noexcept = 0;

 protected:
  ~clock_source() = default;
};

// A clock that moves only when told to.
class manual_clock final : public clock_source {
 public:
  explicit manual_clock(std::uint64_t start_ns = 1'000'000'000'000) noexcept : now_ns_(start_ns) {}
  std::uint64_t now_ns() const noexcept override { return now_ns_.load(std::memory_order_acquire); }
  void advance(std::chrono::nanoseconds by) noexcept {
    now_ns_.fetch_add(static_cast<std::uint64_t>(by.count()), std::memory_order_acq_rel);
  }

 private:
  std::atomic<std::uint64_t> now_ns_;
};

namespace detail {

using clock_function = int (*)(clockid_t, timespec*);

inline std::size_t vdso_symbol_count(const std::uint32_t* sysv_hash, const std::uint32_t* gnu_hash) noexcept {
  if (sysv_hash) return sysv_hash[1];
  if (!gnu_hash) return 0;
  const std::uint32_t buckets = gnu_hash[0], first = gnu_hash[1], bloom_words = gnu_hash[2];
  const std::uint32_t* bucket = gnu_hash + 4 + bloom_words * (sizeof(ElfW(Addr)) / 4);
  const std::uint32_t* chain = bucket + buckets;
  std::uint32_t last = 0;
  for (std::uint32_t i = 0; i < buckets; ++i) last = bucket[i] > last ? bucket[i] : last;
  if (last < first) return first;
  while (!(chain[last - first] & 1)) ++last;
  return last + 1;
}

inline clock_function find_vdso_clock() noexcept {
  const auto base = getauxval(AT_SYSINFO_EHDR);
  if (!base) return nullptr;
  const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(base);
  const auto* program = reinterpret_cast<const ElfW(Phdr)*>(base + header->e_phoff);
  const ElfW(Dyn)* dynamic = nullptr;
  ElfW(Addr) load_offset = 0;
  bool loaded = false;
  for (int i = 0; i < header->e_phnum; ++i) {
    if (program[i].p_type == PT_LOAD && !loaded) {
      load_offset = base + program[i].p_offset - program[i].p_vaddr;
      loaded = true;
    } else if (program[i].p_type == PT_DYNAMIC) {
      dynamic = reinterpret_cast<const ElfW(Dyn)*>(base + program[i].p_offset);
    }
  }
  if (!dynamic || !loaded) return nullptr;
  const char* names = nullptr;
  const ElfW(Sym)* symbols = nullptr;
  const std::uint32_t *sysv_hash = nullptr, *gnu_hash = nullptr;
  for (; dynamic->d_tag != DT_NULL; ++dynamic) {
    const auto address = load_offset + dynamic->d_un.d_ptr;
    if (dynamic->d_tag == DT_STRTAB) names = reinterpret_cast<const char*>(address);
    if (dynamic->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const ElfW(Sym)*>(address);
    if (dynamic->d_tag == DT_HASH) sysv_hash = reinterpret_cast<const std::uint32_t*>(address);
    if (dynamic->d_tag == DT_GNU_HASH) gnu_hash = reinterpret_cast<const std::uint32_t*>(address);
  }
  if (!names || !symbols) return nullptr;
  const std::size_t count = vdso_symbol_count(sysv_hash, gnu_hash);
  for (std::size_t i = 0; i < count; ++i) {
    if (symbols[i].st_shndx == SHN_UNDEF) continue;
    const char* name = names + symbols[i].st_name;
    if (!std::strcmp(name, "__vdso_clock_gettime") || !std::strcmp(name, "__kernel_clock_gettime"))
      return reinterpret_cast<clock_function>(load_offset + symbols[i].st_value);
  }
  return nullptr;
}

inline int clock_by_instruction(clockid_t id, timespec* out) noexcept {
#if defined(__x86_64__)
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(static_cast<long>(SYS_clock_gettime)), "D"(static_cast<long>(id)), "S"(out)
               : "rcx", "r11", "memory");
  return static_cast<int>(result);
#else
  return static_cast<int>(::syscall(SYS_clock_gettime, id, out));
#endif
}

inline int clock_first_call(clockid_t id, timespec* out) noexcept;
inline constinit std::atomic<clock_function> clock_now{&clock_first_call};

inline int clock_first_call(clockid_t id, timespec* out) noexcept {
  const clock_function found = find_vdso_clock();
  clock_now.store(found ? found : &clock_by_instruction, std::memory_order_relaxed);
  return clock_now.load(std::memory_order_relaxed)(id, out);
}

// "As long as it takes", such as duration::max(), would overflow in wait_for(), which then does not wait at all.
template <class Duration>
constexpr Duration waitable(Duration d) noexcept {
  return std::min(d, std::chrono::duration_cast<Duration>(std::chrono::hours(24 * 365)));
}

}  // namespace detail

// Monotonic time, whatever is preloaded.
inline std::uint64_t monotonic_ns() noexcept {
  timespec t;
  detail::clock_now.load(std::memory_order_relaxed)(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(t.tv_nsec);
}

}  // namespace chaos
