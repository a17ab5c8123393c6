#include "corrupt.hpp"

#include <string.h>

#include "moves.hpp"
#include "outcome.hpp"

namespace chaos::hooks {

void drop_copy(frame& f) {
  if (!f.copy) return;
  sys::unmap(f.copy, f.copy_bytes);
  f.copy = nullptr;
}

bool copy_out(frame& f) {
  if (!f.c.out && !f.c.iov && !f.c.msg_out) return false;  // the kernel's own transfers, and what stdio flushes, have their bytes elsewhere
  const std::uint64_t n = least(f.moves, copy_max);
  if (!n || !(f.copy = sys::pages(n))) return false;
  f.copy_bytes = n;
  auto* to = static_cast<unsigned char*>(f.copy);
  if (f.c.out) {
    memcpy(to, *f.c.out, n);
    *f.c.out = f.copy;
    *f.c.size = n;
  } else {
    const bool message = f.c.msg_out != nullptr;
    const iovec* iov = message ? (*f.c.msg_out)->msg_iov : *f.c.iov;
    const std::size_t count = message ? (*f.c.msg_out)->msg_iovlen : static_cast<std::size_t>(*f.c.iov_count);
    std::uint64_t done = 0;
    for (std::size_t i = 0; i < count && done < n; ++i) {
      const std::uint64_t part = least(iov[i].iov_len, n - done);
      memcpy(to + done, iov[i].iov_base, part);
      done += part;
    }
    f.iov[0] = {f.copy, n};
    if (message) {
      stand_in(f, *f.c.msg_out);
      f.msg.msg_iov = f.iov;
      f.msg.msg_iovlen = 1;
    } else {
      *f.c.iov = f.iov;
      *f.c.iov_count = 1;
    }
  }
  f.moves = n;
  const bool stream = f.acts_as == cls::stream_out;
  const std::uint64_t offset = stream ? f.d->out_bytes.load(std::memory_order_relaxed) : 0;
  std::uint32_t idle = 0;  // rules that flipped nothing
  for (unsigned i = 0; i < f.made.judged.count; ++i)
    if (f.made.judged.fired[i].kind == abi::effect::corrupt && !f.made.judged.fired[i].dry_run &&
        !effects::corrupt::flip(f.made.judged.fired[i], stream, offset, to, n))
      idle |= 1u << i;
  take_back_those(f, idle);
  return true;
}

bool lands_nowhere(const frame& f) {
  if ((f.acts_as & cls::stream_in) && f.c.flags && (*f.c.flags & MSG_TRUNC)) return true;
  return !f.c.in && !f.c.iov && !f.c.msg_in;
}

void corrupt_in(frame& f, std::uint64_t n) {
  const bool stream = f.acts_as == cls::stream_in;
  const std::uint64_t offset = !stream ? 0 : (f.c.stream ? f.d->stdio_in : f.d->in_bytes).load(std::memory_order_relaxed);
  std::uint32_t idle = 0;  // rules that flipped nothing
  for (unsigned i = 0; i < f.made.judged.count; ++i) {
    const core::fired_rule& rule = f.made.judged.fired[i];
    if (rule.kind != abi::effect::corrupt || rule.dry_run) continue;
    std::uint64_t done = 0, flipped = 0;
    const auto part = [&](void* p, std::uint64_t room) {
      const std::uint64_t here = least(room, n - done);
      flipped += effects::corrupt::flip(rule, stream, offset + done, static_cast<unsigned char*>(p), here);
      done += here;
    };
    if (f.c.in) part(*f.c.in, n);
    const iovec* iov = f.c.in ? nullptr : f.c.iov ? *f.c.iov : f.c.msg_in ? (*f.c.msg_in)->msg_iov : nullptr;
    const std::size_t count = f.c.iov ? static_cast<std::size_t>(*f.c.iov_count) : f.c.msg_in ? (*f.c.msg_in)->msg_iovlen : 0;
    for (std::size_t k = 0; iov && k < count && done < n; ++k) part(iov[k].iov_base, iov[k].iov_len);
    if (!flipped) idle |= 1u << i;
  }
  take_back_those(f, idle);
}

}  // namespace chaos::hooks
