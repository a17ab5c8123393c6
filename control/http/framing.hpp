// Where a request ends in what has been read so far: pure, and strict, since two opinions about that are how requests are smuggled.
#pragma once
#include <cstddef>
#include <string_view>

namespace chaos::http {

inline constexpr std::size_t head_max = 16 * 1024, request_line_max = 2048, body_max = 512 * 1024;

struct framing {
  enum class state { more, whole, refused } what = state::more;
  std::size_t size = 0;        // of a whole request
  int status = 0;              // of a refusal
  const char* reason = "";     // of a refusal
  bool expects_continue = false;  // its head is there, and its sender waits to be told to go on
};

framing frame(std::string_view received);

}  // namespace chaos::http
