// Unwind tables of a module as they may lie in a target, broken in any way: a step up the stack reads nothing outside them,
// ends, and never leads down the stack.
#include <array>
#include <memory>

#include "fuzz.hpp"
#include "preload/core/cfi.hpp"

namespace {

struct stack_words {
  static constexpr std::uint64_t base = 0x10000;
  std::array<std::uint64_t, 64> words{};
  bool load(std::uint64_t at, std::uint64_t& out) const {
    if (at < base || at % 8 || (at - base) / 8 >= words.size()) return false;
    out = words[(at - base) / 8];
    return true;
  }
};

}  // namespace

// One byte: how far into the module the code is, from its end. Then the module, its .eh_frame_hdr first.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chaos;
  if (size < 2) return 0;
  const std::size_t n = size - 1;
  const std::unique_ptr<std::uint8_t[]> module(new std::uint8_t[n]);  // of this size exactly: a sanitizer sees the end
  std::memcpy(module.get(), data + 1, n);
  const core::unwind_tables tables{module.get(), module.get(), module.get() + n};
  stack_words stack;
  for (std::size_t i = 0; i < stack.words.size(); ++i) stack.words[i] = i % 2 ? stack_words::base + 8 * i : reinterpret_cast<std::uint64_t>(module.get()) + n - data[0];
  core::unwound f{};
  for (unsigned r = 0; r < core::cfi_registers; ++r) f.set(r, stack_words::base + 8 * r);
  f.set(core::cfi_register::return_address, reinterpret_cast<std::uint64_t>(module.get()) + n - data[0]);
  f.set(core::cfi_register::rsp, stack_words::base);
  for (unsigned steps = 0; steps < 100; ++steps) {
    const std::uint64_t before = f.value[core::cfi_register::rsp];
    auto step = core::step_by_tables(f, tables, stack);
    const bool by_tables = step == core::unwind_step::stepped;
    if (step == core::unwind_step::no_entry) step = core::step_by_frame_pointer(f, stack);
    if (step != core::unwind_step::stepped) return 0;
    fuzz::require((by_tables && f.interrupted) || f.value[core::cfi_register::rsp] > before || !f.knows(core::cfi_register::rsp), "a step leads up the stack");
  }
  return 0;
}
