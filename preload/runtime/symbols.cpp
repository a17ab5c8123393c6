#include "symbols.hpp"

#include <fcntl.h>
#include <link.h>

#include <atomic>

#include "syscalls.hpp"

namespace chaos {
namespace {

struct known_name {
  std::atomic<std::uint64_t> code;     // 0: free
  std::atomic<std::uint32_t> ready;
  core::function_symbol is;             // no name: it has none
};
constexpr unsigned known_max = 8192, probes = 16;
constinit std::atomic<known_name*> table{nullptr};

known_name* names() {
  known_name* t = table.load(std::memory_order_acquire);
  if (t) return t;
  auto* made = static_cast<known_name*>(sys::pages(known_max * sizeof(known_name)));
  if (!made || table.compare_exchange_strong(t, made, std::memory_order_acq_rel)) return made;
  sys::unmap(made, known_max * sizeof(known_name));
  return t;
}

void read_name(std::uint64_t code, const link_map* module, core::function_symbol& out) {
  core::function_symbol found;
  const char* path = module->l_name;
  if (!path || !*path) path = "/proc/self/exe";  // the loader gives the program itself no name
  if (*path != '/') return;                      // the vdso
  const int fd = sys::open_file(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  const auto read = [fd](void* into, std::size_t n, std::uint64_t at) { return sys::call(SYS_pread64, fd, into, n, at) == static_cast<long>(n); };
  if (core::elf_file(read).function_at(code - module->l_addr, found)) out = found;
  sys::close_fd(fd);
}

}  // namespace

const core::function_symbol* function_at(std::uint64_t code, const link_map* module) {
  known_name* const all = names();
  if (!all || !module) return nullptr;
  const std::uint64_t hash = code * 0x9e3779b97f4a7c15;
  for (unsigned i = 0; i < probes; ++i) {
    known_name& k = all[((hash >> 40) + i) % known_max];
    std::uint64_t there = k.code.load(std::memory_order_acquire);
    if (there == 0 && k.code.compare_exchange_strong(there, code, std::memory_order_acq_rel)) {
      read_name(code, module, k.is);
      k.ready.store(1, std::memory_order_release);
      return k.is.name[0] ? &k.is : nullptr;
    }
    if (there != code) continue;
    // Another thread is at it, or this one was when a signal came, or that thread stayed behind in a fork: nobody is
    // waited for, the same bytes are written once more.
    if (!k.ready.load(std::memory_order_acquire)) {
      read_name(code, module, k.is);
      k.ready.store(1, std::memory_order_release);
    }
    return k.is.name[0] ? &k.is : nullptr;
  }
  return nullptr;
}

}  // namespace chaos
