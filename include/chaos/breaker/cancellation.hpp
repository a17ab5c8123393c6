// What a catch-all may keep.
//   catch (...) { const std::exception_ptr what = detail::caught(); ... }
// The end of a thread by pthread_cancel() or pthread_exit() unwinds its stack as an exception does and is none: libstdc++ aborts
// a program that stops it. It goes on from here. Thread-safety: inside of a handler. Errors: as said.
#pragma once
#include <exception>

namespace chaos::detail {

inline std::exception_ptr caught() {
  if (std::exception_ptr what = std::current_exception()) return what;
  throw;
}

}  // namespace chaos::detail
