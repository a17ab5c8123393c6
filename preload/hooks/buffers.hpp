// What a call reads into or writes from, as one vector, whatever its shape.
#pragma once
#include <string.h>

#include "hook.hpp"

namespace chaos::hooks {

struct buffers {
  iovec one;
  const iovec* parts = nullptr;
  std::size_t count = 0;
  explicit buffers(const frame& f) {
    if (f.c.iov) { parts = *f.c.iov; count = static_cast<std::size_t>(*f.c.iov_count); return; }
    const msghdr* m = f.c.msg_in ? *f.c.msg_in : f.c.msg_out ? *f.c.msg_out : nullptr;
    if (m) { parts = m->msg_iov; count = m->msg_iovlen; return; }
    if (!f.c.size || (!f.c.in && !f.c.out)) return;
    one = {f.c.in ? *f.c.in : const_cast<void*>(*f.c.out), *f.c.size};
    parts = &one;
    count = 1;
  }
};

inline std::size_t gather(const buffers& v, char* to, std::size_t room) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < v.count && n < room; ++i) {
    const std::size_t part = v.parts[i].iov_len < room - n ? v.parts[i].iov_len : room - n;
    memcpy(to + n, v.parts[i].iov_base, part);
    n += part;
  }
  return n;
}

// Bytes that found room.
inline std::size_t scatter(const buffers& v, const char* from, std::size_t n) {
  std::size_t done = 0;
  for (std::size_t i = 0; i < v.count && done < n; ++i) {
    const std::size_t part = v.parts[i].iov_len < n - done ? v.parts[i].iov_len : n - done;
    memcpy(v.parts[i].iov_base, from + done, part);
    done += part;
  }
  return done;
}

}  // namespace chaos::hooks
