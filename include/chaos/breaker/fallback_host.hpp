// What a result needs to know of the breaker that made it, so that fallbacks are timed and counted there.
// Thread-safety: as the breaker. Hazard: a result keeps a plain pointer; chain fallbacks while the breaker lives.
#pragma once
#include <cstdint>

namespace chaos::detail {

class fallback_host {
 public:
  std::uint64_t fallback_timeout_ns = 0;  // 0 = no limit
  virtual std::uint64_t now_ns() const noexcept = 0;
  virtual void note_fallback(bool worked, const char* how) noexcept = 0;

 protected:
  ~fallback_host() = default;
};

}  // namespace chaos::detail
