// Which way a call moves bytes, how many the program asked for, and fewer of them.
#pragma once
#include "hook.hpp"

namespace chaos::hooks {

namespace cls = abi::classes;

inline constexpr abi::class_set in_data = cls::stream_in | cls::datagram_in;
inline constexpr abi::class_set out_data = cls::stream_out | cls::datagram_out;

inline std::uint64_t least(std::uint64_t a, std::uint64_t b) { return a < b ? a : b; }

std::uint64_t bytes_in_vector(const call& c);
inline std::uint64_t asked_bytes(const call& c) { return c.size ? *c.size : bytes_in_vector(c); }

// Which way it moves them, where its classes do not say: over a file.
bool writes(const frame& f);

// The vector without its first `n` bytes, or as much of it as has room, in the frame's own. Returns its parts.
std::size_t skip(frame& f, const iovec* iov, std::size_t count, std::uint64_t n);

// MSG_WAITALL goes on piece by piece, all of them with the room that the program gave for the first.
bool waits_for_all(const frame& f);
void go_on_behind(frame& f, std::uint64_t moved);  // after a piece: once more, if there is to be another
void continue_message(frame& f);                   // before the next one, of a message

}  // namespace chaos::hooks
