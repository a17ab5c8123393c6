#include "growth.hpp"

#include "moves.hpp"
#include "chaos/abi/session.hpp"

namespace chaos::hooks {

bool full_disk_among(const rule_view& v, const std::uint64_t (&mask)[4]) {
  for (unsigned w = 0; w < 4; ++w)
    for (std::uint64_t bits = mask[w] & v.mask[w]; bits; bits &= bits - 1)
      if (v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))].kind == abi::effect::full) return true;
  return false;
}

std::uint64_t growth(const frame& f) {
  if (!(f.acts_as & cls::file_io) || !f.d || f.d->kind != descriptor_kind::file) return 0;
  const bool resizes = f.function == abi::function_id::ftruncate || f.function == abi::function_id::ftruncate64 ||
                       f.function == abi::function_id::fallocate || f.function == abi::function_id::fallocate64 ||
                       f.function == abi::function_id::posix_fallocate || f.function == abi::function_id::posix_fallocate64;
  const bool writes = f.c.out || f.c.msg_out || f.c.end_of_transfer == transfer_end::sink || f.c.stream ||
                      (f.c.iov && (abi::function_table[static_cast<unsigned>(f.function)].classes & out_data)) || f.c.end >= 0;
  if (!writes && !resizes) return 0;
  const long size = sys::session_files::size(f.c.fd);
  if (size < 0) return 0;
  long end = f.c.end;
  if (end < 0) {
    const bool appends = sys::status_flags(f.c.fd) & O_APPEND;
    const long at = f.c.at >= 0 ? f.c.at : appends ? size : sys::call(SYS_lseek, f.c.fd, 0, SEEK_CUR);
    end = (at < 0 ? size : at) + static_cast<long>(f.moves + f.pending);
  }
  return end > size ? static_cast<std::uint64_t>(end - size) : 0;
}

}  // namespace chaos::hooks
