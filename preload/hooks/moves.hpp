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

}  // namespace chaos::hooks
