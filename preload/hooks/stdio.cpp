#include "stdio.hpp"

#include <stdio_ext.h>

#include "moves.hpp"

namespace chaos::hooks {
namespace {

constexpr int stdio_eof = 0x10, stdio_error = 0x20;  // glibc's _IO_EOF_SEEN and _IO_ERR_SEEN, and musl's F_EOF and F_ERR

// Nobody can close it again: what it still holds is lost, as on a disk that has failed.
void close_all_the_same(frame& f) {
  __fpurge(f.c.stream);
  real.fclose(f.c.stream);
  forget(f.c.fd);
}

}  // namespace

bool served_from_buffer(const frame& f) {
  using enum abi::function_id;
  if (!f.c.stream) return false;
  const std::size_t there = read_ahead(f.c.stream);
  switch (f.function) {
    case fgets: case __fgets_chk: case fgets_unlocked: case __fgets_unlocked_chk: case getline:
      return there && memchr(f.c.stream->_IO_read_ptr, '\n', there);
    default: return there != 0;
  }
}

void mark_error(frame& f) {
  if (f.function != abi::function_id::fclose) f.c.stream->_flags |= stdio_error;
}

road as_stdio(frame& f, road way) {
  if (way == road::fail) {
    if (f.function != abi::function_id::fclose) {
      mark_error(f);
    } else if (f.made.verdict.end == effects::ending::none) {  // only a wait was cut short, and that is told
      f.error = 0;
      f.made.judged.count = 0;
      way = road::go;
    } else {
      close_all_the_same(f);
    }
  }
  if (way == road::done && f.result == 0 && (f.acts_as & in_data)) {
    f.c.stream->_flags |= stdio_eof;
    if (!f.c.size) f.result = -1;
  }
  return way;
}

}  // namespace chaos::hooks
