// Before start-up has found libc's functions: ld.so already allocates through our malloc, and another library's
// constructor may call anything. Each pointer of the real table begins at a small road of its own that finds the real
// function on first use; allocations come from an arena until start-up is done, because dlsym may itself allocate.
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include <atomic>
#include <type_traits>

#include "init.hpp"
#include "real.hpp"

#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wignored-attributes"

namespace chaos {
namespace {

// --- the arena: bump allocation, never given back, told apart by address
constexpr std::size_t arena_bytes = 256 * 1024;
alignas(64) constinit char arena[arena_bytes];
constinit std::atomic<std::size_t> arena_used{0};

struct arena_header { std::size_t size; std::size_t reserved; };

bool in_arena(const void* p) { return p >= arena && p < arena + arena_bytes; }

void* arena_take(std::size_t n, std::size_t align = 16) {
  if (n > arena_bytes || align > 4096) return nullptr;
  const std::size_t want = n + sizeof(arena_header) + align + 16;
  const std::size_t at = arena_used.fetch_add(want, std::memory_order_relaxed);
  if (at + want > arena_bytes) { errno = ENOMEM; return nullptr; }
  auto p = reinterpret_cast<std::size_t>(arena + at + sizeof(arena_header));
  p = (p + align - 1) / align * align;
  reinterpret_cast<arena_header*>(p)[-1] = {n, 0};
  return reinterpret_cast<void*>(p);
}

void* (*libc_realloc)(void*, std::size_t) = nullptr;
void* (*libc_malloc)(std::size_t) = nullptr;
void (*libc_free)(void*) = nullptr;

void* early_malloc(std::size_t n) { return arena_take(n); }
void* early_calloc(std::size_t n, std::size_t size) {
  std::size_t total;
  if (__builtin_mul_overflow(n, size, &total)) { errno = ENOMEM; return nullptr; }
  return arena_take(total);  // fresh arena memory is zero
}
void early_free(void*) {}
// Also used after start-up, when the arena was used before it.
void* checked_realloc(void* p, std::size_t n) {
  if (!in_arena(p)) return libc_realloc ? libc_realloc(p, n) : arena_take(n);
  void* q = libc_malloc ? libc_malloc(n) : arena_take(n);
  const std::size_t old = static_cast<arena_header*>(p)[-1].size;
  if (q) memcpy(q, p, old < n ? old : n);
  return q;
}
void checked_free(void* p) { if (!in_arena(p)) libc_free(p); }
int early_posix_memalign(void** out, std::size_t align, std::size_t n) {
  *out = arena_take(n, align);
  return *out ? 0 : ENOMEM;
}
void* early_aligned(std::size_t align, std::size_t n) { return arena_take(n, align); }
void* early_valloc(std::size_t n) { return arena_take(n, 4096); }
void* early_reallocarray(void* p, std::size_t n, std::size_t size) {
  std::size_t total;
  if (__builtin_mul_overflow(n, size, &total)) { errno = ENOMEM; return nullptr; }
  return checked_realloc(p, total);
}

// --- how a function fails that this libc does not have
template <class T> T absent_result() {
  errno = ENOSYS;
  if constexpr (__is_same(T, void)) return;
  else if constexpr (std::is_pointer_v<T>) return nullptr;
  else return static_cast<T>(-1);
}

#define HOOK(symbol, kinds, fails, returns, parameters, ...) \
  returns absent_##symbol parameters { return absent_result<returns>(); }
#define HOOK_ABI HOOK
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI

#define HOOK(symbol, kinds, fails, returns, parameters, arguments, ...) \
  returns first_##symbol parameters;
#define HOOK_ABI HOOK
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI

}  // namespace

constinit real_table real = {
#define HOOK(symbol, ...) .symbol = first_##symbol,
#define HOOK_ABI HOOK
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI
};

namespace {
#define HOOK(symbol, kinds, fails, returns, parameters, arguments, ...) \
  returns first_##symbol parameters {                                     \
    resolve_one(abi::function_id::symbol);                                \
    return real.symbol arguments;                                         \
  }
#define HOOK_ABI HOOK
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI

struct row { const char* name; void** place; void* absent; };
const row& row_of(unsigned index) {
  static const row rows[] = {
#define HOOK(symbol, ...) {#symbol, reinterpret_cast<void**>(&real.symbol), reinterpret_cast<void*>(absent_##symbol)},
#define HOOK_ABI HOOK
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI
  };
  return rows[index];
}

void find(const row& r) {
  void* p = dlsym(RTLD_NEXT, r.name);
  // Fortified and internal names that this libc lacks are never called by a program linked against it.
  *r.place = p ? p : r.absent;
}

}  // namespace

void resolve_one(abi::function_id f) {
  const row& r = row_of(static_cast<unsigned>(f));
  if (abi::function_table[static_cast<unsigned>(f)].classes & abi::classes::alloc) {
    if (start_up_done()) return find(r);
    switch (f) {
      case abi::function_id::malloc: real.malloc = early_malloc; return;
      case abi::function_id::calloc: real.calloc = early_calloc; return;
      case abi::function_id::realloc: real.realloc = checked_realloc; return;
      case abi::function_id::reallocarray: real.reallocarray = early_reallocarray; return;
      case abi::function_id::free: real.free = early_free; return;
      case abi::function_id::posix_memalign: real.posix_memalign = early_posix_memalign; return;
      case abi::function_id::aligned_alloc: real.aligned_alloc = early_aligned; return;
      case abi::function_id::memalign: real.memalign = early_aligned; return;
      case abi::function_id::valloc: real.valloc = early_valloc; return;
      case abi::function_id::pvalloc: real.pvalloc = early_valloc; return;
      default: break;
    }
  }
  find(r);
}

void resolve_real_functions() {
  void *m = dlsym(RTLD_NEXT, "malloc"), *r = dlsym(RTLD_NEXT, "realloc"), *f = dlsym(RTLD_NEXT, "free");
  libc_malloc = reinterpret_cast<decltype(libc_malloc)>(m);
  libc_realloc = reinterpret_cast<decltype(libc_realloc)>(r);
  libc_free = reinterpret_cast<decltype(libc_free)>(f);
  for (unsigned i = 0; i < abi::function_count; ++i) find(row_of(i));
  if (arena_used.load(std::memory_order_relaxed)) {
    real.free = checked_free;
    real.realloc = checked_realloc;
  }
}

}  // namespace chaos
