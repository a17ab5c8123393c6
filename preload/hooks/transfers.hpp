// Bytes that the kernel moves from one descriptor to another. Each of them meets its own rules.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

struct transfer {
  int from;
  off64_t* from_at;  // nullptr: the descriptor's own position
  int to;
  off64_t* to_at;
  std::size_t* n;
  unsigned flags = 0;
  abi::class_set in, out;  // what it can act as at either end

  constexpr transfer(abi::function_id self, int from, off64_t* from_at, int to, off64_t* to_at, std::size_t* n, unsigned flags = 0)
      : from(from), from_at(from_at), to(to), to_at(to_at), n(n), flags(flags) {
    const abi::class_set row = abi::function_table[static_cast<unsigned>(self)].classes;
    in = row & (abi::classes::stream_in | abi::classes::file_io);
    out = row & (abi::classes::stream_out | abi::classes::file_io);
  }
};

// A rule that corrupts may match: the bytes have to come by. What leaves a pipe can not be put back, so that splice is left alone.
bool goes_by_copy(abi::function_id self, const transfer& t);
ssize_t transfer_by_copy(abi::function_id self, const transfer& t, const void* caller, void* room);

template <class Real>
ssize_t own_transfer(abi::function_id self, const transfer& t, const void* caller, Real real_call) {
  if (goes_by_copy(self, t)) {
    if (void* const room = sys::pages(copy_max)) {
      const ssize_t moved = wait_cancellable([&] { return transfer_by_copy(self, t, caller, room); }, [&] { sys::unmap(room, copy_max); });
      sys::unmap(room, copy_max);
      return moved;
    }
  }
  const off64_t to_at = t.to_at ? *t.to_at : -1;
  const auto write_side = [&] {
    return run_slowly<abi::fails::minus_one, ssize_t>(self, t.out, call{.fd = t.to, .size = t.n, .end_of_transfer = transfer_end::sink, .at = to_at}, caller, real_call);
  };
  if (surely_unmatched(t.from, t.in)) return write_side();
  return run_slowly<abi::fails::minus_one, ssize_t>(self, t.in, call{.fd = t.from, .size = t.n, .end_of_transfer = transfer_end::source}, caller, write_side);
}

}  // namespace chaos::hooks
