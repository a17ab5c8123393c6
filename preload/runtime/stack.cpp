#include "stack.hpp"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>

#include "chaos/abi/session.hpp"
#include "modules.hpp"
#include "preload/core/cfi.hpp"
#include "preload/core/glob.hpp"
#include "process.hpp"
#include "symbols.hpp"
#include "syscalls.hpp"

namespace chaos {

#if defined(__x86_64__) && defined(DLFO_EH_SEGMENT_TYPE)

namespace {

constinit bool on = false;
// Where a module's unwind tables are; takes no lock (glibc from 2.35). Asked for by name: the library must also load elsewhere.
using finder = int (*)(void*, dl_find_object*);
constinit finder find_object = nullptr;

// Words of the stack. A page that was read from before can be read from; another is asked for first: the kernel answers
// EFAULT to a signal set that it can not read, and EINVAL to one that it can, because there is no such operation.
struct stack_memory {
  static constexpr std::uint64_t page_bytes = 4096;
  std::uint64_t page = ~std::uint64_t{0};

  bool readable(std::uint64_t at) {
    const std::uint64_t of = at / page_bytes;
    if (of == page) return true;
    constexpr int no_operation = -1;
    constexpr std::size_t kernel_set_bytes = 8;
    if (sys::call(SYS_rt_sigprocmask, no_operation, of * page_bytes, 0, kernel_set_bytes) != -EINVAL) return false;
    page = of;
    return true;
  }
  bool load(std::uint64_t at, std::uint64_t& out) {
    if (at % sizeof out || !readable(at)) return false;
    out = *reinterpret_cast<const std::uint64_t*>(at);
    return true;
  }
};

bool module_at(std::uint64_t code, dl_find_object& out) { return find_object(reinterpret_cast<void*>(code), &out) == 0; }

}  // namespace

void find_stacks(bool asked_for) {
  if (!asked_for) return;
  find_object = reinterpret_cast<finder>(dlsym(RTLD_DEFAULT, "_dl_find_object"));
  on = find_object != nullptr;
}

bool stacks_on() { return on; }

[[gnu::noinline]] void walk_stack(call_stack& out) {
  out.count = 0;
  if (!on) return;
  core::unwound f{};
  __asm__ volatile(
      "leaq 1f(%%rip), %%rax\n"
      "1: movq %%rbx, 24(%0)\n"
      "movq %%rbp, 48(%0)\n"
      "movq %%rsp, 56(%0)\n"
      "movq %%r12, 96(%0)\n"
      "movq %%r13, 104(%0)\n"
      "movq %%r14, 112(%0)\n"
      "movq %%r15, 120(%0)\n"
      "movq %%rax, 128(%0)\n"
      : : "r"(f.value) : "rax", "memory");
  f.known = 1u << 3 | 1u << 6 | 1u << 7 | 0xfu << 12 | 1u << core::cfi_register::return_address;
  f.interrupted = true;  // this very instruction

  constexpr unsigned steps_max = abi::stack_frame_max + 24;  // our own frames come first
  stack_memory memory;
  const link_map* ours = nullptr;
  for (unsigned steps = 0; steps < steps_max; ++steps) {
    dl_find_object in;
    const bool known = module_at(f.code(), in);
    if (steps == 0) ours = known ? in.dlfo_link_map : nullptr;
    if (!known || in.dlfo_link_map != ours) {
      out.frames[out.count++] = f.address();
      if (out.count == abi::stack_frame_max) return;
    }
    auto step = core::unwind_step::no_entry;
    if (known && in.dlfo_eh_frame)
      step = core::step_by_tables(f, {static_cast<const std::uint8_t*>(in.dlfo_eh_frame), static_cast<const std::uint8_t*>(in.dlfo_map_start),
                                      static_cast<const std::uint8_t*>(in.dlfo_map_end)}, memory);
    if (step == core::unwind_step::no_entry) step = core::step_by_frame_pointer(f, memory);
    if (step != core::unwind_step::stepped) return;
  }
}

bool stack_matches(const call_stack& s, const char* glob) {
  for (unsigned i = 0; i < s.count; ++i) {
    const std::uint64_t code = s.frames[i] - 1;
    dl_find_object in;
    if (!module_at(code, in)) continue;
    if (module_matches(reinterpret_cast<const void*>(code), glob)) return true;
    const char* linked_as = in.dlfo_link_map->l_name;  // the file above may have a longer one (libz.so.1.2.13)
    if (linked_as && *linked_as && core::glob_match(glob, core::base_name(linked_as))) return true;
    const core::function_symbol* f = function_at(code, in.dlfo_link_map);
    if (f && core::glob_match(glob, f->name)) return true;
  }
  return false;
}

unsigned describe_stack(const call_stack& s, char* out, unsigned room) {
  unsigned used = 0;
  for (unsigned i = 0; i < s.count; ++i) {
    const std::uint64_t code = s.frames[i] - 1;
    dl_find_object in;
    abi::path_buffer text;
    std::uint64_t offset = s.frames[i];
    const core::function_symbol* f = nullptr;
    if (module_at(code, in)) {
      const char* name = in.dlfo_link_map->l_name;
      text.add(core::base_name(name && *name ? name : self.executable));
      f = function_at(code, in.dlfo_link_map);
      offset -= in.dlfo_link_map->l_addr + (f ? f->begin : 0);
      if (f) text.add("(").add(f->name);
      text.add("+");
    }
    char digits[19] = "0x";
    unsigned n = 2;
    for (int shift = 60; shift >= 0; shift -= 4)
      if (const unsigned digit = offset >> shift & 15; digit || n > 2 || !shift) digits[n++] = "0123456789abcdef"[digit];
    digits[n] = 0;
    text.add(digits).add(f ? ")" : "");
    if (text.length + 1 > room - used) break;
    memcpy(out + used, text.text, text.length + 1);
    used += static_cast<unsigned>(text.length + 1);
  }
  return used;
}

#else  // no unwinder for this processor or C library yet: no_stacks says so

void find_stacks(bool) {}
bool stacks_on() { return false; }
void walk_stack(call_stack& out) { out.count = 0; }
bool stack_matches(const call_stack&, const char*) { return false; }
unsigned describe_stack(const call_stack&, char*, unsigned) { return 0; }

#endif

}  // namespace chaos
