// dlopen, without RTLD_DEEPBIND: modules loaded with it (all extensions of PHP, and what they bring along, such as libcurl)
// would find libc's functions in libc itself, past every preload. No rule is about this call; all it does is keep modules within reach.
#include <dlfcn.h>

#include <atomic>

#ifdef RTLD_DEEPBIND

extern "C" [[gnu::visibility("default")]] void* chaos_dlopen(const char* file, int flags) __asm__("dlopen");

// Left by a jump: libc looks at the return address to know whose search path and namespace are meant.
void* chaos_dlopen(const char* file, int flags) {
  static constinit std::atomic<void* (*)(const char*, int)> known{nullptr};
  auto* real = known.load(std::memory_order_relaxed);
  if (!real) {
    real = reinterpret_cast<void* (*)(const char*, int)>(dlsym(RTLD_NEXT, "dlopen"));  // of a call that allocates anyway
    if (!real) return nullptr;
    known.store(real, std::memory_order_relaxed);
  }
  return real(file, flags & ~RTLD_DEEPBIND);
}

#endif
