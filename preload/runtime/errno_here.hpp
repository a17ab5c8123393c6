// errno of this thread, for code that can not afford the call that the macro is.
#pragma once
#include <errno.h>

#include <cstddef>

namespace chaos {

[[gnu::visibility("hidden")]] extern std::ptrdiff_t errno_offset;  // from the thread pointer; known from start-up on
inline void find_errno() { errno_offset = reinterpret_cast<char*>(&errno) - static_cast<char*>(__builtin_thread_pointer()); }
inline int errno_here() { return *reinterpret_cast<int*>(static_cast<char*>(__builtin_thread_pointer()) + errno_offset); }

}  // namespace chaos
