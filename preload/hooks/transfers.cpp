#include "transfers.hpp"

#include "corrupt.hpp"
#include "moves.hpp"
#include "rules.hpp"

namespace chaos::hooks {
namespace {

bool may_corrupt(const rule_view& v, const descriptor& d, abi::class_set classes) {
  return any_rule(v, d.mask, [&](const abi::rule& r) { return r.kind == abi::effect::corrupt && (r.classes & d.role & classes); });
}

// What was read goes out as any write does; the positions move by what was taken.
ssize_t put(abi::function_id self, const transfer& t, const void* caller, const void* from, std::size_t n, off64_t from_at) {
  const call c{.fd = t.to, .out = &from, .size = &n, .end_of_transfer = transfer_end::sink, .at = t.to_at ? *t.to_at : -1};
  const ssize_t moved = run_slowly<abi::fails::minus_one, ssize_t>(self, t.out, c, caller, [&] {
    return t.to_at ? real.pwrite64(t.to, from, n, *t.to_at) : real.write(t.to, from, n);
  });
  if (moved <= 0) return moved;
  if (t.from_at) *t.from_at += moved;
  else sys::call(SYS_lseek, t.from, from_at + moved, SEEK_SET);
  if (t.to_at) *t.to_at += moved;
  return moved;
}

}  // namespace

bool goes_by_copy(abi::function_id self, const transfer& t) {
  using enum abi::function_id;
  if (self == splice || !*t.n || t.flags || (surely_unmatched(t.from, t.in) && surely_unmatched(t.to, t.out))) return false;
  const rule_view* v = inside() ? nullptr : current_view();
  if (!v) return false;
  const descriptor* const from = classify(t.from, *v);
  const descriptor* const to = classify(t.to, *v);
  if (!from || !to || from->kind != descriptor_kind::file) return false;
  if (self == copy_file_range && (to->kind != descriptor_kind::file || t.from == t.to || (sys::status_flags(t.to) & O_APPEND))) return false;
  return may_corrupt(*v, *from, t.in) || may_corrupt(*v, *to, t.out);
}

ssize_t transfer_by_copy(abi::function_id self, const transfer& t, const void* caller, void* room) {
  const off64_t at = t.from_at ? *t.from_at : sys::call(SYS_lseek, t.from, 0, SEEK_CUR);
  std::size_t n = least(*t.n, copy_max);
  frame f;
  f.function = self;
  f.c = call{.fd = t.from, .in = &room, .size = &n, .end_of_transfer = transfer_end::source, .at = at};
  f.caller = caller;
  f.gathered = 0;
  f.acts_as = t.in;
  const int before = errno;
  const road way = enter(f);
  errno = before;
  if (way == road::fail) return failure<abi::fails::minus_one, ssize_t>(f.error);
  if (way == road::done) return f.result;
  ssize_t moved = real.pread64(t.from, room, n, at);
  if (way == road::pass) return moved > 0 ? put(self, t, caller, room, static_cast<std::size_t>(moved), at) : moved;
  if (moved > 0) {
    if (f.made.verdict.corrupting) corrupt_in(f, static_cast<std::uint64_t>(moved));
    f.made.verdict.corrupting = 0;  // by leave(), which would come too late
    moved = put(self, t, caller, room, static_cast<std::size_t>(moved), at);
  }
  int error = errno;
  moved = leave(f, moved, error);
  if (f.error) return failure<abi::fails::minus_one, ssize_t>(f.error);
  errno = error;
  return moved;
}

}  // namespace chaos::hooks
