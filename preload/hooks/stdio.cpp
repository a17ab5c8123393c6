#include "stdio.hpp"

#include <string.h>

#include "moves.hpp"

namespace chaos::hooks {

constexpr int stdio_error = 0x20;  // glibc's _IO_ERR_SEEN, and musl's F_ERR

bool served_from_buffer(const frame& f) {
  using enum abi::function_id;
  if (!f.c.stream) return false;
  const std::size_t there = static_cast<std::size_t>(f.c.stream->_IO_read_end - f.c.stream->_IO_read_ptr);
  switch (f.function) {
    case fgets: case __fgets_chk: case fgets_unlocked: case __fgets_unlocked_chk: case getline:
      return there && memchr(f.c.stream->_IO_read_ptr, '\n', there);
    default: return there != 0;
  }
}

road as_stdio(frame& f, road way) {
  if (way == road::fail && f.function != abi::function_id::fclose) f.c.stream->_flags |= stdio_error;
  if (way == road::done && f.result == 0 && (f.acts_as & in_data)) return road::go;
  return way;
}

}  // namespace chaos::hooks
