#include "modules.hpp"

#include <fcntl.h>
#include <string.h>

#include <atomic>
#include <cstdint>

#include "preload/core/glob.hpp"
#include "syscalls.hpp"

namespace chaos {
namespace {

struct module {
  std::atomic<std::uint32_t> ready;
  std::uintptr_t low, high;
  bool spared;          // libc or the loader
  char path[230];
};
constexpr unsigned module_max = 256;
constinit module modules[module_max]{};
constinit std::atomic<unsigned> known{0};

bool names_libc(const char* path) {
  const char* base = core::base_name(path);
  return core::glob_match("libc.so*", base) || core::glob_match("libc-2.*", base) || core::glob_match("ld-linux*", base) ||
         core::glob_match("ld-musl*", base) || core::glob_match("ld-2.*", base);
}

std::uintptr_t hex(const char*& p) {
  std::uintptr_t n = 0;
  for (;; ++p) {
    if (*p >= '0' && *p <= '9') n = n * 16 + static_cast<unsigned>(*p - '0');
    else if (*p >= 'a' && *p <= 'f') n = n * 16 + static_cast<unsigned>(*p - 'a' + 10);
    else return n;
  }
}

const module* remember(std::uintptr_t low, std::uintptr_t high, const char* path) {
  const unsigned i = known.fetch_add(1, std::memory_order_relaxed);
  if (i >= module_max) { known.store(module_max, std::memory_order_relaxed); return nullptr; }
  module& m = modules[i];
  m.low = low;
  m.high = high;
  std::size_t n = 0;
  for (; path[n] && n + 1 < sizeof m.path; ++n) m.path[n] = path[n];
  m.path[n] = 0;
  m.spared = names_libc(m.path);
  m.ready.store(1, std::memory_order_release);
  return &m;
}

const module* lookup(std::uintptr_t at) {
  const unsigned n = known.load(std::memory_order_acquire);
  for (unsigned i = 0; i < n && i < module_max; ++i)
    if (modules[i].ready.load(std::memory_order_acquire) && at >= modules[i].low && at < modules[i].high) return &modules[i];
  return nullptr;
}

// One pass over /proc/self/maps for the line that holds `at`.
const module* find(std::uintptr_t at) {
  const int fd = sys::open_file("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  char buffer[4096];
  std::size_t have = 0;
  const module* found = nullptr;
  for (;;) {
    const long got = sys::read_from(fd, buffer + have, sizeof buffer - 1 - have);
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
    buffer[have] = 0;
    char* line = buffer;
    for (char* end; !found && (end = static_cast<char*>(memchr(line, '\n', have - static_cast<std::size_t>(line - buffer)))); line = end + 1) {
      *end = 0;
      const char* p = line;
      const std::uintptr_t low = hex(p);
      if (*p++ != '-') continue;
      const std::uintptr_t high = hex(p);
      if (at < low || at >= high) continue;
      const char* path = strchr(p, '/');
      found = remember(low, high, path ? path : "");
      break;
    }
    if (found) break;
    have -= static_cast<std::size_t>(line - buffer);
    memmove(buffer, line, have);
    if (have >= sizeof buffer - 1) have = 0;  // a line longer than the buffer: not one of ours
  }
  sys::close_fd(fd);
  return found;
}

const module* module_of(const void* address) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const module* m = lookup(at);
  return m ? m : find(at);
}

}  // namespace

bool module_matches(const void* address, const char* glob) {
  const module* m = module_of(address);
  return m && (core::glob_match(glob, m->path) || core::glob_match(glob, core::base_name(m->path)));
}

bool is_libc_or_loader(const void* address) {
  const module* m = module_of(address);
  return m && m->spared;
}

}  // namespace chaos
