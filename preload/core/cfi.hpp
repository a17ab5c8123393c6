// One step up a call stack, by the tables that every module carries in .eh_frame (System V ABI for x86-64, section 3.7; DWARF 5,
// section 6.4). Pure: it allocates nothing, takes no lock, and reads the stack only through `Memory`, which refuses what is
// not mapped. Tables of a module may be wrong: every length and index is checked, and a step then says `broken`.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace chaos::core {

inline constexpr unsigned cfi_registers = 17;  // x86-64 by DWARF's numbers: 0..15, and 16, the return address
namespace cfi_register {
inline constexpr unsigned rbx = 3, rbp = 6, rsp = 7, r12 = 12, return_address = 16;
}

struct unwound {
  std::uint64_t value[cfi_registers];
  std::uint32_t known;       // bit n: value[n] is
  bool interrupted;          // the code address is where it will go on, not behind a call

  bool knows(unsigned r) const { return r < cfi_registers && (known >> r & 1); }
  void set(unsigned r, std::uint64_t v) {
    value[r] = v;
    known |= 1u << r;
  }
  std::uint64_t address() const { return value[cfi_register::return_address]; }
  std::uint64_t code() const { return interrupted ? address() : address() - 1; }  // inside the instruction that is under way
};

// .eh_frame_hdr of one module, and where the module is mapped: nothing outside is read.
struct unwind_tables {
  const std::uint8_t* header;
  const std::uint8_t* begin;
  const std::uint8_t* end;
};

enum class unwind_step { stepped, no_entry, outermost, broken };

namespace cfi {

// Reads tables from front to back; past the end everything is 0 and `ok` is false.
struct reader {
  const std::uint8_t* at;
  const std::uint8_t* end;
  bool ok = true;

  template <class T> T fixed() {
    T v{};
    if (at > end || static_cast<std::size_t>(end - at) < sizeof v) ok = false;
    if (!ok) return T{};
    std::memcpy(&v, at, sizeof v);
    at += sizeof v;
    return v;
  }
  std::uint64_t unsigned_leb() {
    std::uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      const auto byte = fixed<std::uint8_t>();
      if (shift < 64) v |= std::uint64_t{byte & 0x7fu} << shift;
      if (!(byte & 0x80)) return v;
    }
    ok = false;
    return 0;
  }
  std::int64_t signed_leb() {
    std::uint64_t v = 0;
    for (unsigned shift = 0; shift < 70;) {
      const auto byte = fixed<std::uint8_t>();
      if (shift < 64) v |= std::uint64_t{byte & 0x7fu} << shift;
      shift += 7;
      if (byte & 0x80) continue;
      if (shift < 64 && (byte & 0x40)) v |= ~std::uint64_t{0} << shift;
      return static_cast<std::int64_t>(v);
    }
    ok = false;
    return 0;
  }
  // DW_EH_PE: the low half says how it is written, the high half what it counts from.
  std::uint64_t encoded(unsigned encoding, std::uint64_t data_base = 0) {
    if (encoding == 0xff) return 0;
    const auto here = reinterpret_cast<std::uint64_t>(at);
    std::uint64_t v = 0;
    switch (encoding & 0x0f) {
      case 0x00: case 0x04: case 0x0c: v = fixed<std::uint64_t>(); break;
      case 0x01: v = unsigned_leb(); break;
      case 0x02: v = fixed<std::uint16_t>(); break;
      case 0x03: v = fixed<std::uint32_t>(); break;
      case 0x09: v = static_cast<std::uint64_t>(signed_leb()); break;
      case 0x0a: v = static_cast<std::uint64_t>(std::int64_t{fixed<std::int16_t>()}); break;
      case 0x0b: v = static_cast<std::uint64_t>(std::int64_t{fixed<std::int32_t>()}); break;
      default: ok = false;
    }
    switch (encoding & 0x70) {
      case 0x00: return v;
      case 0x10: return v + here;
      case 0x30: return v + data_base;
      default: ok = false; return 0;
    }
  }
  // The next n bytes, as a reader of their own.
  reader part(std::uint64_t n) {
    if (!ok || n > static_cast<std::uint64_t>(end - at)) { ok = false; return {at, at, false}; }
    const reader r{at, at + n};
    at += n;
    return r;
  }
};

struct entry {                 // one function: FDE and what its CIE says
  std::uint64_t begin, end;
  std::uint64_t code_align;
  std::int64_t data_align;
  std::uint64_t return_register;
  bool signal_frame;
  reader common, own;          // instructions
};

// The entry of the function that holds `code`; false when the module has none for it.
inline bool find_entry(const unwind_tables& t, std::uint64_t code, entry& out) {
  if (t.header < t.begin || t.header >= t.end) return false;
  reader h{t.header, t.end};
  const auto base = reinterpret_cast<std::uint64_t>(t.header);
  const auto version = h.fixed<std::uint8_t>(), frame_encoding = h.fixed<std::uint8_t>(), count_encoding = h.fixed<std::uint8_t>(),
             table_encoding = h.fixed<std::uint8_t>();
  h.encoded(frame_encoding, base);
  const std::uint64_t count = h.encoded(count_encoding, base);
  if (!h.ok || version != 1 || table_encoding != 0x3b) return false;  // sorted, 4 bytes from the header: what linkers write
  struct row { std::int32_t code, entry; };
  if (!count || count > static_cast<std::uint64_t>(h.end - h.at) / sizeof(row)) return false;
  const auto at = [&](std::uint64_t i) {
    row r;
    std::memcpy(&r, h.at + i * sizeof r, sizeof r);
    return r;
  };
  std::uint64_t low = 0, high = count;  // the last one that begins at or before `code`
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (base + static_cast<std::uint64_t>(std::int64_t{at(middle).code}) <= code) low = middle + 1;
    else high = middle;
  }
  if (!low) return false;
  const auto inside = [&t](std::uint64_t p) { return p >= reinterpret_cast<std::uint64_t>(t.begin) && p < reinterpret_cast<std::uint64_t>(t.end); };
  const std::uint64_t entry_at = base + static_cast<std::uint64_t>(std::int64_t{at(low - 1).entry});
  if (!inside(entry_at)) return false;

  reader whole{reinterpret_cast<const std::uint8_t*>(entry_at), t.end};
  reader fde = whole.part(whole.fixed<std::uint32_t>());  // 0xffffffff, the long form, is longer than any module
  const std::uint64_t id_at = reinterpret_cast<std::uint64_t>(fde.at);
  const std::uint64_t common_at = id_at - fde.fixed<std::uint32_t>();
  if (!fde.ok || common_at == id_at || !inside(common_at)) return false;

  reader common_whole{reinterpret_cast<const std::uint8_t*>(common_at), t.end};
  reader cie = common_whole.part(common_whole.fixed<std::uint32_t>());
  const auto id = cie.fixed<std::uint32_t>();
  const auto cie_version = cie.fixed<std::uint8_t>();
  const auto* const augmentation = reinterpret_cast<const char*>(cie.at);
  while (cie.fixed<char>() && cie.ok) {}
  out.code_align = cie.unsigned_leb();
  out.data_align = cie.signed_leb();
  out.return_register = cie_version == 1 ? cie.fixed<std::uint8_t>() : cie.unsigned_leb();
  if (!cie.ok || id != 0 || (cie_version != 1 && cie_version != 3)) return false;
  unsigned pointer_encoding = 0;
  out.signal_frame = false;
  const bool sized = augmentation[0] == 'z';
  if (!sized && augmentation[0]) return false;
  reader facts = sized ? cie.part(cie.unsigned_leb()) : reader{cie.at, cie.at};
  for (const char* a = augmentation + 1; sized && *a; ++a) {
    if (*a == 'R') pointer_encoding = facts.fixed<std::uint8_t>();
    else if (*a == 'L') facts.fixed<std::uint8_t>();
    else if (*a == 'P') { const auto encoding = facts.fixed<std::uint8_t>(); facts.encoded(encoding & 0x0f); }
    else if (*a == 'S') out.signal_frame = true;
    else return false;
  }
  out.begin = fde.encoded(pointer_encoding);
  out.end = out.begin + fde.encoded(pointer_encoding & 0x0f);
  if (sized) fde.part(fde.unsigned_leb());
  out.common = cie;
  out.own = fde;
  return cie.ok && facts.ok && fde.ok && code >= out.begin && code < out.end;
}

enum class how : std::uint8_t { unspecified, undefined, same, at_offset, is_offset, in_register, at_expression, is_expression };

struct row {                    // where the caller's registers are, for one code address
  how kind[cfi_registers];
  bool by_expression;           // of the canonical frame address
  std::uint8_t base;
  std::int64_t offset;
  std::uint64_t operand[cfi_registers];  // an offset, a register, or where an expression is written
  std::uint64_t expression;
};

// Runs instructions up to the row of `code`. False: something in them is not understood.
inline bool run(reader in, const entry& e, std::uint64_t code, const row& initial, row& now) {
  constexpr unsigned kept_max = 4;
  row kept[kept_max];
  unsigned depth = 0;
  std::uint64_t location = e.begin;
  bool ok = true;
  const auto say = [&](std::uint64_t r, how kind, std::uint64_t operand) {
    if (r >= cfi_registers) return;  // vector registers: nobody asks for them
    now.kind[r] = kind;
    now.operand[r] = operand;
  };
  const auto scaled = [&](std::uint64_t n) { return n * static_cast<std::uint64_t>(e.data_align); };
  const auto expression = [&] {
    const auto at = reinterpret_cast<std::uint64_t>(in.at);
    in.part(in.unsigned_leb());
    return at;
  };
  const auto base_is = [&](std::uint64_t r, std::uint64_t offset) {
    now.by_expression = false;
    now.base = r < cfi_registers ? static_cast<std::uint8_t>(r) : 0xff;
    now.offset = static_cast<std::int64_t>(offset);
  };
  const auto restore = [&](std::uint64_t r) { if (r < cfi_registers) say(r, initial.kind[r], initial.operand[r]); };
  while (ok && in.ok && in.at < in.end) {
    const auto op = in.fixed<std::uint8_t>();
    const unsigned low = op & 0x3f;
    std::uint64_t advance = 0, r = 0;
    switch (op & 0xc0) {
      case 0x40: advance = low; break;
      case 0x80: say(low, how::at_offset, scaled(in.unsigned_leb())); break;
      case 0xc0: restore(low); break;
      default:
        switch (op) {
          case 0x00: break;                                               // nop
          case 0x02: advance = in.fixed<std::uint8_t>(); break;           // advance_loc1, 2, 4
          case 0x03: advance = in.fixed<std::uint16_t>(); break;
          case 0x04: advance = in.fixed<std::uint32_t>(); break;
          case 0x05: r = in.unsigned_leb(); say(r, how::at_offset, scaled(in.unsigned_leb())); break;   // offset_extended
          case 0x06: restore(in.unsigned_leb()); break;                                                 // restore_extended
          case 0x07: say(in.unsigned_leb(), how::undefined, 0); break;
          case 0x08: say(in.unsigned_leb(), how::same, 0); break;
          case 0x09: r = in.unsigned_leb(); say(r, how::in_register, in.unsigned_leb()); break;
          case 0x0a: if (depth < kept_max) kept[depth++] = now; else ok = false; break;                 // remember_state
          case 0x0b: if (depth) now = kept[--depth]; else ok = false; break;                            // restore_state
          case 0x0c: r = in.unsigned_leb(); base_is(r, in.unsigned_leb()); break;                       // def_cfa
          case 0x0d: base_is(in.unsigned_leb(), static_cast<std::uint64_t>(now.offset)); break;         // def_cfa_register
          case 0x0e: now.offset = static_cast<std::int64_t>(in.unsigned_leb()); break;                  // def_cfa_offset
          case 0x0f: now.by_expression = true; now.expression = expression(); break;
          case 0x10: r = in.unsigned_leb(); say(r, how::at_expression, expression()); break;
          case 0x11: r = in.unsigned_leb(); say(r, how::at_offset, scaled(static_cast<std::uint64_t>(in.signed_leb()))); break;
          case 0x12: r = in.unsigned_leb(); base_is(r, scaled(static_cast<std::uint64_t>(in.signed_leb()))); break;
          case 0x13: now.offset = static_cast<std::int64_t>(scaled(static_cast<std::uint64_t>(in.signed_leb()))); break;
          case 0x14: r = in.unsigned_leb(); say(r, how::is_offset, scaled(in.unsigned_leb())); break;
          case 0x15: r = in.unsigned_leb(); say(r, how::is_offset, scaled(static_cast<std::uint64_t>(in.signed_leb()))); break;
          case 0x16: r = in.unsigned_leb(); say(r, how::is_expression, expression()); break;
          case 0x2e: in.unsigned_leb(); break;                                                          // GNU_args_size
          default: ok = false;
        }
    }
    if (!advance) continue;
    location += advance * e.code_align;
    if (location > code) return in.ok;
  }
  return ok && in.ok;
}

// The few operations that compilers and libc write: procedure linkage, realigned stacks, signal trampolines.
template <class Memory>
bool evaluate(std::uint64_t at, const unwind_tables& t, const unwound& f, Memory& memory, bool push_first, std::uint64_t first, std::uint64_t& out) {
  constexpr unsigned room = 16, operations_max = 64;
  std::uint64_t stack[room];
  unsigned depth = 0;
  if (push_first) stack[depth++] = first;
  reader whole{reinterpret_cast<const std::uint8_t*>(at), t.end};
  reader in = whole.part(whole.unsigned_leb());
  for (unsigned n = 0; in.ok && in.at < in.end; ++n) {
    if (n == operations_max || depth + 1 >= room) return false;
    const auto op = in.fixed<std::uint8_t>();
    const unsigned needs = op == 0x06 || op == 0x23 || op == 0x12 || op == 0x13 || op == 0x1f || op == 0x20 ? 1 : op >= 0x1a && op <= 0x2e ? 2 : 0;
    if (depth < needs) return false;
    std::uint64_t& top = stack[depth ? depth - 1 : 0];
    std::uint64_t& under = stack[depth > 1 ? depth - 2 : 0];
    if (op >= 0x30 && op <= 0x4f) { stack[depth++] = op - 0x30u; continue; }  // lit0..31
    if (op >= 0x70 && op <= 0x8f) {                                           // breg0..31
      const std::int64_t offset = in.signed_leb();
      if (!f.knows(op - 0x70u)) return false;
      stack[depth++] = f.value[op - 0x70u] + static_cast<std::uint64_t>(offset);
      continue;
    }
    switch (op) {
      case 0x06: if (!memory.load(top, top)) return false; break;             // deref
      case 0x08: stack[depth++] = in.fixed<std::uint8_t>(); break;            // const1u … consts
      case 0x09: stack[depth++] = static_cast<std::uint64_t>(std::int64_t{in.fixed<std::int8_t>()}); break;
      case 0x0a: stack[depth++] = in.fixed<std::uint16_t>(); break;
      case 0x0b: stack[depth++] = static_cast<std::uint64_t>(std::int64_t{in.fixed<std::int16_t>()}); break;
      case 0x0c: stack[depth++] = in.fixed<std::uint32_t>(); break;
      case 0x0d: stack[depth++] = static_cast<std::uint64_t>(std::int64_t{in.fixed<std::int32_t>()}); break;
      case 0x0e: case 0x0f: stack[depth++] = in.fixed<std::uint64_t>(); break;
      case 0x10: stack[depth++] = in.unsigned_leb(); break;
      case 0x11: stack[depth++] = static_cast<std::uint64_t>(in.signed_leb()); break;
      case 0x12: stack[depth] = top; ++depth; break;                          // dup
      case 0x13: --depth; break;                                              // drop
      case 0x1a: under &= top; --depth; break;
      case 0x1c: under -= top; --depth; break;
      case 0x1e: under *= top; --depth; break;
      case 0x1f: top = ~top + 1; break;
      case 0x20: top = ~top; break;
      case 0x21: under |= top; --depth; break;
      case 0x22: under += top; --depth; break;
      case 0x23: top += in.unsigned_leb(); break;                             // plus_uconst
      case 0x24: under = top < 64 ? under << top : 0; --depth; break;
      case 0x25: under = top < 64 ? under >> top : 0; --depth; break;
      case 0x29: under = under == top; --depth; break;
      case 0x2a: under = static_cast<std::int64_t>(under) >= static_cast<std::int64_t>(top); --depth; break;
      case 0x2b: under = static_cast<std::int64_t>(under) > static_cast<std::int64_t>(top); --depth; break;
      case 0x2c: under = static_cast<std::int64_t>(under) <= static_cast<std::int64_t>(top); --depth; break;
      case 0x2d: under = static_cast<std::int64_t>(under) < static_cast<std::int64_t>(top); --depth; break;
      case 0x2e: under = under != top; --depth; break;
      case 0x96: break;                                                       // nop
      default: return false;
    }
  }
  if (!in.ok || !depth) return false;
  out = stack[depth - 1];
  return true;
}

}  // namespace cfi

// From a frame to its caller's. Memory: bool load(std::uint64_t at, std::uint64_t& out), false where nothing can be read.
template <class Memory>
unwind_step step_by_tables(unwound& f, const unwind_tables& t, Memory& memory) {
  using namespace cfi;
  entry e;
  if (!find_entry(t, f.code(), e)) return unwind_step::no_entry;
  const row nothing{};
  row initial{}, now{};
  if (!run(e.common, e, ~std::uint64_t{0}, nothing, initial)) return unwind_step::broken;
  now = initial;
  if (!run(e.own, e, f.code(), initial, now)) return unwind_step::broken;

  std::uint64_t frame_address = 0;
  if (now.by_expression) {
    if (!evaluate(now.expression, t, f, memory, false, 0, frame_address)) return unwind_step::broken;
  } else {
    if (!f.knows(now.base)) return unwind_step::broken;
    frame_address = f.value[now.base] + static_cast<std::uint64_t>(now.offset);
  }
  unwound up{};
  up.interrupted = e.signal_frame;
  up.set(cfi_register::rsp, frame_address);
  constexpr std::uint32_t kept_by_calls = 1u << 3 | 1u << 6 | 0xfu << 12;  // rbx rbp r12..r15
  for (unsigned r = 0; r < cfi_registers; ++r) {
    std::uint64_t v = 0;
    switch (now.kind[r]) {
      case how::unspecified:
        if (f.knows(r) && (kept_by_calls >> r & 1)) up.set(r, f.value[r]);
        break;
      case how::same:
        if (f.knows(r)) up.set(r, f.value[r]);
        break;
      case how::undefined: break;
      case how::at_offset:
        if (!memory.load(frame_address + now.operand[r], v)) return unwind_step::broken;
        up.set(r, v);
        break;
      case how::is_offset: up.set(r, frame_address + now.operand[r]); break;
      case how::in_register:
        if (f.knows(static_cast<unsigned>(now.operand[r] < cfi_registers ? now.operand[r] : cfi_registers))) up.set(r, f.value[now.operand[r]]);
        break;
      case how::at_expression:
        if (!evaluate(now.operand[r], t, f, memory, true, frame_address, v) || !memory.load(v, v)) return unwind_step::broken;
        up.set(r, v);
        break;
      case how::is_expression:
        if (!evaluate(now.operand[r], t, f, memory, true, frame_address, v)) return unwind_step::broken;
        up.set(r, v);
        break;
    }
  }
  // Stacks grow down. A signal may have come on a stack of its own.
  if (!e.signal_frame && up.value[cfi_register::rsp] <= f.value[cfi_register::rsp]) return unwind_step::broken;
  if (e.return_register >= cfi_registers || !up.knows(static_cast<unsigned>(e.return_register))) return unwind_step::outermost;
  up.set(cfi_register::return_address, up.value[e.return_register]);
  if (!up.address()) return unwind_step::outermost;
  f = up;
  return unwind_step::stepped;
}

// Code without tables (made at run time, as by V8): it usually keeps the chain of frame pointers.
template <class Memory>
unwind_step step_by_frame_pointer(unwound& f, Memory& memory) {
  constexpr std::uint64_t frame_max = 1 << 20;
  if (!f.knows(cfi_register::rbp) || !f.knows(cfi_register::rsp)) return unwind_step::outermost;
  const std::uint64_t at = f.value[cfi_register::rbp], top = f.value[cfi_register::rsp];
  if (at % 8 || at < top || at - top > frame_max) return unwind_step::outermost;
  unwound up{};
  std::uint64_t saved = 0, back = 0;
  if (!memory.load(at, saved) || !memory.load(at + 8, back) || !back) return unwind_step::outermost;
  up.set(cfi_register::rbp, saved);
  up.set(cfi_register::rsp, at + 16);
  up.set(cfi_register::return_address, back);
  f = up;
  return unwind_step::stepped;
}

}  // namespace chaos::core
