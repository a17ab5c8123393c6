// One step up a stack by hand-made unwind tables: what compilers write is followed, what is broken ends the walk. Walks
// through real tables are compared with libgcc's in tests/integration/stacks.
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "preload/core/cfi.hpp"

namespace chaos::core {
namespace {

using bytes = std::vector<std::uint8_t>;

// A module: .eh_frame_hdr with one row, a CIE, an FDE for `code_bytes` of code that follows.
class module {
 public:
  static constexpr unsigned code_bytes = 16;
  module(const bytes& common, const bytes& own, const char* augmentation = "zR") {
    put8({1, 0x1b, 0x03, 0x3b});
    put32(0);  // where .eh_frame is: not asked for
    put32(1);
    const std::size_t row = all_.size();
    put32(0);
    put32(0);
    const std::size_t cie = record([&] {
      put32(0);
      put8({1});
      for (const char* a = augmentation; *a; ++a) put8({static_cast<std::uint8_t>(*a)});
      put8({0, 1, 0x78, 16, 1, 0x1b});  // alignments 1 and -8, return address in 16, one byte of augmentation: pcrel sdata4
      put(common);
    });
    std::size_t begin_at = 0;
    const std::size_t fde = record([&] {
      put32(static_cast<std::uint32_t>(all_.size() - cie));
      begin_at = all_.size();
      put32(0);
      put32(code_bytes);
      put8({0});
      put(own);
    });
    code_ = all_.size();
    all_.resize(all_.size() + code_bytes);
    set32(row, static_cast<std::uint32_t>(code_));
    set32(row + 4, static_cast<std::uint32_t>(fde));
    set32(begin_at, static_cast<std::uint32_t>(code_ - begin_at));
  }
  unwind_tables tables() const { return {all_.data(), all_.data(), all_.data() + all_.size()}; }
  std::uint64_t code(unsigned at = 0) const { return reinterpret_cast<std::uint64_t>(all_.data()) + code_ + at; }
  bytes& raw() { return all_; }

 private:
  template <class Write> std::size_t record(Write write) {
    const std::size_t at = all_.size();
    put32(0);
    write();
    set32(at, static_cast<std::uint32_t>(all_.size() - at - 4));
    return at;
  }
  void put(const bytes& b) { all_.insert(all_.end(), b.begin(), b.end()); }
  void put8(std::initializer_list<std::uint8_t> b) { all_.insert(all_.end(), b); }
  void put32(std::uint32_t v) {
    all_.resize(all_.size() + 4);
    set32(all_.size() - 4, v);
  }
  void set32(std::size_t at, std::uint32_t v) { std::memcpy(&all_[at], &v, sizeof v); }
  bytes all_;
  std::size_t code_ = 0;
};

struct words {
  std::map<std::uint64_t, std::uint64_t> at{};
  bool load(std::uint64_t address, std::uint64_t& out) {
    const auto found = at.find(address);
    if (found == at.end()) return false;
    out = found->second;
    return true;
  }
};

constexpr std::uint64_t top = 0x7000;
const bytes on_entry = {0x0c, 7, 8, 0x90, 1};  // def_cfa rsp+8; return address at cfa-8

unwound at(const module& m, unsigned offset) {
  unwound f{};
  f.set(cfi_register::return_address, m.code(offset));
  f.set(cfi_register::rsp, top);
  f.set(cfi_register::rbp, 0xb0b);
  f.set(cfi_register::rbx, 0xb1b);
  f.interrupted = true;
  return f;
}

TEST(Cfi, OnEntryTheReturnAddressIsOnTop) {
  const module m(on_entry, {});
  words stack{{{top, 0x1234}}};
  unwound f = at(m, 0);
  ASSERT_EQ(step_by_tables(f, m.tables(), stack), unwind_step::stepped);
  EXPECT_EQ(f.address(), 0x1234u);
  EXPECT_EQ(f.code(), 0x1233u) << "the call, not what follows it";
  EXPECT_EQ(f.value[cfi_register::rsp], top + 8);
  EXPECT_EQ(f.value[cfi_register::rbx], 0xb1bu) << "kept by calls";
  EXPECT_FALSE(f.knows(0)) << "not kept by calls";
}

TEST(Cfi, EachPlaceInAFunctionHasItsRow) {
  const bytes prologue = {0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6};  // +1: cfa+16, rbp at cfa-16; +4: cfa by rbp
  const module m(on_entry, prologue);
  words stack{{{top, 0x77}, {top + 8, 0x1234}}};
  unwound f = at(m, 1);
  ASSERT_EQ(step_by_tables(f, m.tables(), stack), unwind_step::stepped);
  EXPECT_EQ(f.address(), 0x1234u);
  EXPECT_EQ(f.value[cfi_register::rbp], 0x77u);
  f = at(m, 4);
  f.set(cfi_register::rbp, top + 0x100);
  stack.at = {{top + 0x100, 0x78}, {top + 0x108, 0x99}};
  ASSERT_EQ(step_by_tables(f, m.tables(), stack), unwind_step::stepped);
  EXPECT_EQ(f.address(), 0x99u);
  EXPECT_EQ(f.value[cfi_register::rbp], 0x78u);
}

TEST(Cfi, AStateThatWasRememberedComesBack) {
  const module m(on_entry, {0x0a, 0x0e, 64, 0x41, 0x0b});  // remember, cfa+64, +1: restore
  words stack{{{top, 0x1234}, {top + 56, 0x99}}};
  unwound f = at(m, 0);
  ASSERT_EQ(step_by_tables(f, m.tables(), stack), unwind_step::stepped);
  EXPECT_EQ(f.address(), 0x99u);
  f = at(m, 1);
  ASSERT_EQ(step_by_tables(f, m.tables(), stack), unwind_step::stepped);
  EXPECT_EQ(f.address(), 0x1234u);
}

TEST(Cfi, ProcedureLinkage) {  // what linkers write for .plt: rsp+8, and 8 more from the 11th byte of an entry on
  const module m(on_entry, {0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22});
  for (unsigned offset = 0; offset < module::code_bytes; ++offset) {
    unwound f = at(m, offset);
    const std::uint64_t more = (f.address() & 15) >= 11 ? 8 : 0;
    words stack{{{top + more, 0x1234}}};
    ASSERT_EQ(step_by_tables(f, m.tables(), stack), unwind_step::stepped) << offset;
    EXPECT_EQ(f.value[cfi_register::rsp], top + 8 + more);
  }
}

TEST(Cfi, ARealignedFrame) {  // cfa = *(rbp - 8)
  const module m(on_entry, {0x0f, 3, 0x76, 0x78, 0x06});
  words stack{{{0x8000 - 8, top + 64}, {top + 56, 0x1234}}};
  unwound f = at(m, 2);
  f.set(cfi_register::rbp, 0x8000);
  ASSERT_EQ(step_by_tables(f, m.tables(), stack), unwind_step::stepped);
  EXPECT_EQ(f.value[cfi_register::rsp], top + 64);
}

TEST(Cfi, ASignalFrameMayLeadToAnotherStack) {
  const module m({0x0c, 7, 0, 0x16, 16, 2, 0x77, 40, 0x16, 7, 2, 0x77, 48}, {}, "zRS");  // rip is rsp+40, rsp is rsp+48
  words stack;
  unwound f = at(m, 0);
  ASSERT_EQ(step_by_tables(f, m.tables(), stack), unwind_step::stepped);
  EXPECT_TRUE(f.interrupted);
  EXPECT_EQ(f.code(), top + 40);
}

TEST(Cfi, TheOutermostFrameSaysSo) {
  const module undefined(on_entry, {0x07, 16}), zero(on_entry, {});
  words stack{{{top, 0}}};
  unwound f = at(undefined, 0);
  EXPECT_EQ(step_by_tables(f, undefined.tables(), stack), unwind_step::outermost);
  f = at(zero, 0);
  EXPECT_EQ(step_by_tables(f, zero.tables(), stack), unwind_step::outermost);
}

TEST(Cfi, NoEntryOutsideOfFunctions) {
  const module m(on_entry, {});
  words stack;
  for (const std::uint64_t code : {m.code() - 1, m.code(module::code_bytes), std::uint64_t{0}, ~std::uint64_t{0}}) {
    unwound f = at(m, 0);
    f.set(cfi_register::return_address, code);
    EXPECT_EQ(step_by_tables(f, m.tables(), stack), unwind_step::no_entry);
  }
}

TEST(Cfi, BrokenTablesEndTheWalk) {
  const std::map<const char*, bytes> broken = {
      {"unknown instruction", {0x3c}},
      {"restores what was not remembered", {0x0b}},
      {"remembers without end", {0x0a, 0x0a, 0x0a, 0x0a, 0x0a}},
      {"frame by a register that nobody has", {0x0c, 99, 8}},
      {"frame by a register that is not known", {0x0c, 0, 8}},
      {"frame below the present one", {0x0c, 7, 0}},
      {"expression longer than the module", {0x0f, 0xff, 0x7f, 0x77, 8}},
      {"expression that takes from an empty stack", {0x0f, 1, 0x22}},
      {"unknown operation", {0x0f, 2, 0x77, 0xf0}},
      {"expression that leaves nothing", {0x0f, 0}},
      {"number without an end", {0x0e, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
      {"cut short", {0x0c, 7}}};
  for (const auto& [what, own] : broken) {
    const module m(on_entry, own);
    words stack{{{top, 0x1234}}};
    unwound f = at(m, 15);
    EXPECT_EQ(step_by_tables(f, m.tables(), stack), unwind_step::broken) << what;
    EXPECT_EQ(f.value[cfi_register::rsp], top) << what << ": nothing has changed";
  }
  const module m(on_entry, {});
  words nowhere;
  unwound f = at(m, 0);
  EXPECT_EQ(step_by_tables(f, m.tables(), nowhere), unwind_step::broken) << "a stack that can not be read";
}

TEST(Cfi, CutTablesAreNotReadPastTheirEnd) {
  const module whole(on_entry, {});
  const auto all = whole.tables();
  for (const auto* end = all.begin; end < all.end; ++end) {
    const bytes part(all.begin, end);
    unwound f = at(whole, 0);
    words stack;
    EXPECT_NE(step_by_tables(f, {part.data(), part.data(), part.data() + part.size()}, stack), unwind_step::stepped);
  }
}

TEST(Cfi, FramePointersLeadThroughCodeWithoutTables) {
  words stack{{{top + 32, 0x7100}, {top + 40, 0x1234}}};
  unwound f{};
  f.set(cfi_register::rsp, top);
  f.set(cfi_register::rbp, top + 32);
  ASSERT_EQ(step_by_frame_pointer(f, stack), unwind_step::stepped);
  EXPECT_EQ(f.address(), 0x1234u);
  EXPECT_EQ(f.value[cfi_register::rbp], 0x7100u);
  EXPECT_EQ(f.value[cfi_register::rsp], top + 48);
  for (const std::uint64_t no_frame : {top - 8, top + 33, top + (8u << 20), std::uint64_t{0}}) {
    f.set(cfi_register::rbp, no_frame);
    EXPECT_EQ(step_by_frame_pointer(f, stack), unwind_step::outermost);
  }
}

}  // namespace
}  // namespace chaos::core
