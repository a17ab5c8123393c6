// chaos::result<T>: a value or a failure, and where the value came from.
//
//   auto r = redis.call([&] { return client.get(key); })
//                .or_cached(l1, key)                                       // stale while error
//                .or_else([](const chaos::failure&) { return "-"s; });
//   r.value();  r.source();  r.age();  if (auto* why = r.cause()) log(why->message());
//
// It is chaos::expected<T, chaos::failure> (std::expected where there is one) with provenance. value() of an error
// rethrows what the call threw, else throws open_error, timeout_error or call_error.
// Thread-safety: a value. Units: age in nanoseconds. Errors: a fallback that throws or takes longer than the
// breaker's fallback_timeout makes an error of its own; cause() keeps the first one.
#pragma once
#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <variant>

#include "breaker/cancellation.hpp"
#include "breaker/expected.hpp"
#include "breaker/fallback_host.hpp"
#include "failure.hpp"

namespace chaos {

enum class source : std::uint8_t { none, live, cache_fresh, cache_stale, fallback };

inline constexpr const char* to_string(source s) noexcept {
  constexpr const char* names[] = {"none", "live", "cache_fresh", "cache_stale", "fallback"};
  return names[static_cast<unsigned>(s) < 5 ? static_cast<unsigned>(s) : 0];
}

template <class T>
class result;

namespace detail {
template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<result<T>> = true;

// Calls `f` with a token that is asked to stop after `limit_ns`; defined in timeout.hpp, which result.hpp need not
// know.
template <class F>
decltype(auto) invoke_with_deadline(std::uint64_t limit_ns, F&& f);
}  // namespace detail

template <class T>
class [[nodiscard]] result : public expected<T, failure> {
  using base = expected<T, failure>;

 public:
  // What a fallback may return for a result<T>.
  using base::base;
  result() = default;
  result(base b) : base(std::move(b)), source_(base::has_value() ? chaos::source::live : chaos::source::none) {}
  result(failure f) : base(unexpect, std::move(f)), source_(chaos::source::none) {}
  result(failure f, detail::fallback_host* host)
      : base(unexpect, std::move(f)), source_(chaos::source::none), host_(host) {}

  chaos::source source() const noexcept { return base::has_value() ? source_ : chaos::source::none; }
  // Since the value was put into the cache; 0 for values that are not from a cache.
  std::chrono::nanoseconds age() const noexcept { return age_; }
  // Why the value is not live, or why there is none; nullptr for a live value.
  const failure* cause() const noexcept {
    if (cause_) return &*cause_;
    return base::has_value() ? nullptr : &base::error();
  }

  std::add_lvalue_reference_t<T> value() & {
    check();
    return **this;
  }
  std::add_lvalue_reference_t<const T> value() const& {
    check();
    return **this;
  }
  std::add_rvalue_reference_t<T> value() && {
    check();
    return *std::move(static_cast<base&>(*this));
  }

  // On success the value goes into the cache; on failure a value of the cache, fresh or stale, takes its place.
  // A cache has put(key, value) and find(key), which returns something like
  // std::optional<{T value; nanoseconds age; bool fresh;}>. What it throws is dropped: a cache must not harm a call.
  template <class Cache, class Key>
  requires(!std::is_void_v<T>) result or_cached(Cache& cache, const Key& key) && {
    try {
      if (base::has_value()) {
        if (source_ == chaos::source::live) cache.put(key, **this);
      } else if (auto hit = cache.find(key)) {
        result r =
            substitute(std::move(hit->value), hit->fresh ? chaos::source::cache_fresh : chaos::source::cache_stale);
        r.age_ = hit->age;
        note(true, hit->fresh ? "cache_fresh" : "cache_stale");
        return r;
      }
    } catch (...) {
      static_cast<void>(detail::caught());
      note(false, "cache");
    }
    return std::move(*this);
  }

  // `f` takes (const failure&), nothing, or (const failure&, std::stop_token), and returns a T or a result<T>.
  template <class F>
  result or_else(F&& f) && {
    if (base::has_value()) [[likely]]
      return std::move(*this);
    return fall_back(std::forward<F>(f));
  }

  // Keeps source, age and cause.
  template <class F>
  auto transform(F&& f) && {
    using U = typename decltype(std::declval<base&&>().transform(std::declval<F>()))::value_type;
    result<U> r(static_cast<base&&>(*this).transform(std::forward<F>(f)));
    r.source_ = source_;
    r.age_ = age_;
    r.cause_ = std::move(cause_);
    r.host_ = host_;
    return r;
  }

  // For caches and clients that make results of their own.
  template <class V>
  requires(!std::is_void_v<T>) static result
      from_cache(V&& value, bool fresh, std::chrono::nanoseconds age, std::optional<failure> cause = {}) {
    result r(std::in_place, std::forward<V>(value));
    r.source_ = fresh ? chaos::source::cache_fresh : chaos::source::cache_stale;
    r.age_ = age;
    r.cause_ = std::move(cause);
    return r;
  }

 private:
  template <class U>
  friend class result;

  void check() const {
    if (!base::has_value()) base::error().raise();
  }
  void note(bool worked, const char* how) const noexcept {
    if (host_) host_->note_fallback(worked, how);
  }
  template <class V>
  static result made_of([[maybe_unused]] V&& value) {
    if constexpr (std::is_void_v<T>)
      return result();
    else
      return result(std::in_place, std::forward<V>(value));
  }
  template <class V>
  result substitute(V&& value, chaos::source from) {
    result r = made_of(std::forward<V>(value));
    r.source_ = from;
    r.host_ = host_;
    r.cause_ = cause_ ? std::move(*cause_) : std::move(base::error());
    return r;
  }
  result fail_again(failure with) {
    note(false, "fallback");
    result r(std::move(with), host_);
    r.cause_ = cause_ ? std::move(*cause_) : std::move(base::error());
    return r;
  }

  template <class F>
  [[gnu::noinline]] result fall_back(F&& f) {
    const std::uint64_t limit = host_ ? host_->fallback_timeout_ns : 0;
    const std::uint64_t start = limit ? host_->now_ns() : 0;
    try {
      const auto run = [&]() -> decltype(auto) {
        if constexpr (std::is_invocable_v<F, const failure&, std::stop_token>)
          return detail::invoke_with_deadline(limit, [&](std::stop_token stop) -> decltype(auto) {
            return std::invoke(f, std::as_const(base::error()), stop);
          });
        else if constexpr (std::is_invocable_v<F, const failure&>)
          return std::invoke(f, std::as_const(base::error()));
        else
          return std::invoke(f);
      };
      using R = std::remove_cvref_t<decltype(run())>;
      const auto too_late = [&] { return limit && host_->now_ns() - start > limit; };
      const failure late{failure_kind::timeout, {}, {}, "the fallback took longer than fallback_timeout"};
      if constexpr (std::is_void_v<R>) {
        run();
        if (too_late()) return fail_again(late);
        note(true, "fallback");
        return substitute(std::monostate{}, chaos::source::fallback);
      } else if constexpr (detail::is_result<R> || std::is_same_v<R, base>) {
        R got = run();
        if (too_late()) return fail_again(late);
        if (!got.has_value()) return fail_again(std::move(got).error());
        note(true, "fallback");
        if constexpr (std::is_void_v<T>) {
          return substitute(std::monostate{}, chaos::source::fallback);
        } else {
          result r = substitute(*std::move(static_cast<base&>(got)), chaos::source::fallback);
          if constexpr (detail::is_result<R>) r.age_ = got.age_;
          return r;
        }
      } else {
        R got = run();
        if (too_late()) return fail_again(late);
        note(true, "fallback");
        return substitute(std::move(got), chaos::source::fallback);
      }
    } catch (...) {
      return fail_again({failure_kind::error, {}, detail::caught(), nullptr});
    }
  }

  std::optional<failure> cause_{};
  std::chrono::nanoseconds age_{0};
  chaos::source source_ = chaos::source::live;
  detail::fallback_host* host_ = nullptr;
};

}  // namespace chaos
