// A permit to make one call. Move-only; dropped = given back without a verdict.
//
//   if (auto permit = redis.try_acquire())
//     async_get(key, [p = std::move(permit)](auto reply) mutable { p.record(reply); });
//
// A permit carries the generation of the state that issued it: a verdict that comes after that state has ended
// changes nothing and is counted as a late result. The first verdict counts, further ones return false.
// Thread-safety: one thread at a time, any thread. Errors: none. Hazard: must not outlive its breaker.
#pragma once
#include <chrono>
#include <exception>
#include <type_traits>
#include <utility>

#include "core.hpp"

namespace chaos {
namespace detail {

template <class T>
concept expected_like = requires(const T& t) {
  { t.has_value() } -> std::convertible_to<bool>;
  t.error();
};
// A free function chaos_classify(const T&) beside T gives the verdict on a T.
template <class T>
concept self_classified = requires(const T& t) {
  { chaos_classify(t) } -> std::same_as<outcome>;
};

template <class T>
constexpr outcome verdict_on(const T& value) {
  if constexpr (self_classified<T>)
    return chaos_classify(value);
  else if constexpr (expected_like<T>)
    return value.has_value() ? outcome::success : outcome::failure;
  else
    return outcome::success;
}

inline outcome verdict_on_exception(const breaker_settings& s, const std::exception_ptr& e) noexcept {
  if (!s.classify) return outcome::failure;
  try {
    return s.classify(e);
  } catch (...) {  // a broken classifier must not hide a failure
    return outcome::failure;
  }
}

}  // namespace detail

class [[nodiscard]] permit {
 public:
  permit() = default;
  permit(detail::breaker_core& core, detail::ticket t) noexcept : core_(t.word ? &core : nullptr), ticket_(t) {}
  permit(permit&& o) noexcept : core_(std::exchange(o.core_, nullptr)), ticket_(o.ticket_) {}
  permit& operator=(permit&& o) noexcept {
    if (this != &o) {
      release();
      core_ = std::exchange(o.core_, nullptr);
      ticket_ = o.ticket_;
    }
    return *this;
  }
  ~permit() { release(); }

  // Was the call admitted, and is the verdict still to come?
  explicit operator bool() const noexcept { return core_ != nullptr; }
  // Of a permit that was not given: the time until the next probe may be.
  std::chrono::nanoseconds retry_after() const noexcept {
    return std::chrono::nanoseconds(ticket_.word ? 0 : static_cast<std::int64_t>(ticket_.start_ns));
  }

  bool success() noexcept {
    if (!core_) return false;
    std::exchange(core_, nullptr)->success(ticket_);
    return true;
  }
  bool failure() noexcept {
    if (!core_) return false;
    std::exchange(core_, nullptr)->failure(ticket_);
    return true;
  }
  bool ignore() noexcept {
    if (!core_) return false;
    std::exchange(core_, nullptr)->release(ticket_, true);
    return true;
  }
  bool record(outcome o) noexcept {
    return o == outcome::success ? success() : o == outcome::failure ? failure() : ignore();
  }
  bool record(const std::exception_ptr& e) noexcept {
    return core_ && record(detail::verdict_on_exception(core_->settings(), e));
  }
  // A reply: see chaos_classify(); anything with has_value() and error() tells by itself; all else is a success.
  template <class Reply>
  requires(!std::is_same_v<Reply, outcome>) bool record(const Reply& reply) {
    return record(detail::verdict_on(reply));
  }
  // Gives the permit back without a verdict, as the destructor does.
  void release() noexcept {
    if (core_) std::exchange(core_, nullptr)->release(ticket_, false);
  }

 private:
  detail::breaker_core* core_ = nullptr;
  detail::ticket ticket_{};
};

}  // namespace chaos
