#include "growth.hpp"

#include <stdio_ext.h>

#include "moves.hpp"
#include "rules.hpp"
#include "chaos/abi/session.hpp"

namespace chaos::hooks {

bool full_disk_among(const rule_view& v, const std::uint64_t (&mask)[4], abi::function_id function) {
  return any_rule(v, mask, [&](const abi::rule& r) { return r.kind == abi::effect::full && (r.functions.empty() || r.functions.has(function)); });
}

namespace {

constexpr long counting_begins = -1;

// Where the next byte that the program writes is going to stand.
long end_of(const frame& f, long size, std::uint64_t pending) {
  const long at = sys::status_flags(f.c.fd) & O_APPEND ? size : sys::call(SYS_lseek, f.c.fd, 0, SEEK_CUR);
  return (at < 0 ? size : at) + static_cast<long>(pending);
}

}  // namespace

std::uint64_t growth(const frame& f) {
  if (!(f.acts_as & cls::file_io) || !f.d || f.d->kind != descriptor_kind::file) return 0;
  const bool resizes = f.function == abi::function_id::ftruncate || f.function == abi::function_id::ftruncate64 ||
                       f.function == abi::function_id::fallocate || f.function == abi::function_id::fallocate64 ||
                       f.function == abi::function_id::posix_fallocate || f.function == abi::function_id::posix_fallocate64;
  if (!writes(f) && f.c.end < 0 && !resizes) return 0;
  long size = sys::session_files::size(f.c.fd);
  if (size < 0) return 0;
  long end = f.c.end;
  if (end < 0) {
    const long at = f.c.at >= 0 ? f.c.at : end_of(f, size, f.pending);
    end = at + static_cast<long>(f.moves);
    if (f.c.stream) {
      const long counted = f.pending ? f.d->counted_end.load(std::memory_order_relaxed) : 0;
      if (counted > size) size = counted < at ? counted : at;
      if (!f.d->counted_end.load(std::memory_order_relaxed)) f.d->counted_end.store(counting_begins, std::memory_order_relaxed);
    }
  }
  return end > size ? static_cast<std::uint64_t>(end - size) : 0;
}

void note_counted(const frame& f) {
  if (!f.d->counted_end.load(std::memory_order_relaxed) || f.c.in || f.function == abi::function_id::fclose) return;
  const std::uint64_t pending = __fpending(f.c.stream);
  f.d->counted_end.store(pending ? end_of(f, sys::session_files::size(f.c.fd), pending) : 0, std::memory_order_relaxed);
}

}  // namespace chaos::hooks
