// What went wrong, as a value: the error type of chaos::result and the exceptions its value() throws.
//
//   if (!r) std::cerr << chaos::to_string(r.error().kind) << ": " << r.error().message();
//
// Thread-safety: values. Units: retry_after in nanoseconds. Errors: message() may allocate, nothing else does.
#pragma once
#include <chrono>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>

namespace chaos {

// open: not admitted by a breaker. error: the call failed. timeout: its time was over. full: not admitted by a
// bulkhead.
enum class failure_kind : std::uint8_t { open, error, timeout, full };

inline constexpr const char* to_string(failure_kind k) noexcept {
  constexpr const char* names[] = {"open", "error", "timeout", "full"};
  return names[static_cast<unsigned>(k) < 4 ? static_cast<unsigned>(k) : 1];
}

// The verdict on one call.
enum class outcome : std::uint8_t { success, failure, ignored };

class open_error : public std::runtime_error {
 public:
  explicit open_error(std::chrono::nanoseconds retry)
      : std::runtime_error("circuit breaker is open; retry after " +
                           std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(retry).count()) +
                           " ms"),
        retry_after(retry) {}
  std::chrono::nanoseconds retry_after;
};

class timeout_error : public std::runtime_error {
 public:
  timeout_error() : std::runtime_error("timed out") {}
  explicit timeout_error(const std::string& what) : std::runtime_error(what) {}
};

// A failure without an exception of its own: classified as one, or rejected by a bulkhead.
class call_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct failure {
  failure_kind kind = failure_kind::error;
  std::chrono::nanoseconds retry_after{0};  // kind open: until the next probe may be admitted
  std::exception_ptr exception{};           // what the call threw, if it threw
  const char* detail = nullptr;             // static text

  std::string message() const {
    if (exception) {
      try {
        std::rethrow_exception(exception);
      } catch (const std::exception& e) {
        return e.what();
      } catch (...) {
        return "exception of an unknown type";
      }
    }
    if (detail) return detail;
    if (kind == failure_kind::open) return open_error(retry_after).what();
    return to_string(kind);
  }
  [[noreturn]] void raise() const {
    if (exception) std::rethrow_exception(exception);
    if (kind == failure_kind::open) throw open_error(retry_after);
    if (kind == failure_kind::timeout) throw timeout_error(detail ? detail : "timed out");
    throw call_error(message());
  }
};

}  // namespace chaos
