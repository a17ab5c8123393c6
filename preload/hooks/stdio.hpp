// Streams of stdio: bytes instead of items, in pieces where a rule cuts, and afterwards what libc itself would say of the stream.
#pragma once
#include <string.h>

#include "hook.hpp"

namespace chaos::hooks {

// Bytes that libc has read ahead and not given yet.
inline std::size_t read_ahead(const FILE* stream) { return static_cast<std::size_t>(stream->_IO_read_end - stream->_IO_read_ptr); }

// It has what the call asks for, or is asked by one that takes what there is.
bool served_from_buffer(const frame& f);

// What the call may be cut into: those that read lines give them whole, and nobody sees how the others read.
inline bool goes_in_pieces(const frame& f) { return f.c.size && f.c.out; }

// A fault is an error of the stream, the end of the connection its end of file, and a stream whose closing fails is closed.
road as_stdio(frame& f, road way);
void mark_error(frame& f);

// fread and fwrite over bytes, so that what a rule does to some of them is exact. Returns how many have moved.
template <class Pointer, class Real>
std::size_t own_pieces(abi::function_id self, Pointer& at, std::size_t& n, FILE* stream, const void* caller, Real real_call) {
  const abi::class_set row = abi::function_table[static_cast<unsigned>(self)].classes;
  const Pointer start = at;
  const std::size_t all = n;
  std::size_t done = 0;
  for (;;) {
    call c{.size = &n, .stream = stream};
    if constexpr (__is_same(Pointer, void*)) c.in = &at, at = static_cast<char*>(start) + done;
    else c.out = &at, at = static_cast<const char*>(start) + done;
    n = all - done;
    const std::size_t got = run_slowly<abi::fails::zero_items, std::size_t>(self, row, c, caller, real_call);
    done += got;
    if (!got || got < n || done == all) return done;  // else a rule has made n less
  }
}

// `room`: what a fortified form knows of the buffer.
template <class Pointer, class Real>
std::size_t own_items(abi::function_id self, Pointer& at, std::size_t& size, std::size_t& n, FILE* stream, const void* caller, Real real_call,
                      std::size_t room = ~std::size_t{0}) {
  const std::size_t item = size, items = n;
  std::size_t all;
  if (__builtin_mul_overflow(item, items, &all) || all > room) return real_call();  // libc knows what that is
  size = 1;
  n = all;
  const std::size_t done = own_pieces(self, at, n, stream, caller, real_call);
  return !item ? 0 : done == all ? items : done / item;
}

// fputs: as fwrite, which can put a part of it down.
template <class Write>
int own_text(abi::function_id self, const char* text, FILE* stream, const void* caller, Write* write) {
  const abi::class_set row = abi::function_table[static_cast<unsigned>(self)].classes;
  const std::size_t all = strlen(text);
  const void* at = text;
  std::size_t n = all;
  if (!all) return run_slowly<abi::fails::eof, int>(self, row, call{.stream = stream}, caller, [] { return 1; });
  return own_pieces(self, at, n, stream, caller, [&] { return write(at, 1, n, stream); }) == all ? 1 : EOF;
}

// fgets, which does not say how much it has given: as far as the first zero.
template <class Real>
char* own_line(abi::function_id self, char* line, FILE* stream, const void* caller, Real real_call) {
  void* in = line;
  const auto length = [&]() -> ssize_t { return real_call() ? static_cast<ssize_t>(strlen(line)) : -1; };
  const abi::class_set row = abi::function_table[static_cast<unsigned>(self)].classes;
  return run_slowly<abi::fails::minus_one, ssize_t>(self, row, call{.in = &in, .stream = stream}, caller, length) < 0 ? nullptr : line;
}

}  // namespace chaos::hooks
