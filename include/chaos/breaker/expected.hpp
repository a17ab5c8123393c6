// chaos::expected: std::expected where the standard library has it, else the part of its interface that fits C++20.
//
//   chaos::expected<int, std::string> e = chaos::unexpected(std::string("no"));
//
// Thread-safety: values. Errors: value() of an error throws bad_expected_access. Source: ISO C++23 [expected].
#pragma once
#include <version>
#if defined(__cpp_lib_expected) && __cpp_lib_expected >= 202211L  // GCC 12 has it without transform() and its kin
#include <expected>
namespace chaos {
using std::bad_expected_access;
using std::expected;
using std::unexpect;
using std::unexpect_t;
using std::unexpected;
}  // namespace chaos
#else
#include <exception>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <variant>

namespace chaos {

struct unexpect_t {
  explicit unexpect_t() = default;
};
inline constexpr unexpect_t unexpect{};

template <class E>
class unexpected {
 public:
  template <class G = E>
  requires(!std::is_same_v<std::remove_cvref_t<G>, unexpected>) &&
      std::is_constructible_v<E, G> constexpr explicit unexpected(G&& e) : error_(std::forward<G>(e)) {}
  constexpr const E& error() const& noexcept { return error_; }
  constexpr E& error() & noexcept { return error_; }
  constexpr E&& error() && noexcept { return std::move(error_); }
  friend constexpr bool operator==(const unexpected& a, const unexpected& b) { return a.error_ == b.error_; }

 private:
  E error_;
};
template <class E>
unexpected(E) -> unexpected<E>;

template <class E>
class bad_expected_access : public std::exception {
 public:
  explicit bad_expected_access(E e) : error_(std::move(e)) {}
  const char* what() const noexcept override { return "bad access to an expected without a value"; }
  const E& error() const& noexcept { return error_; }

 private:
  E error_;
};

template <class T, class E>
class expected {
  // std::monostate stands for void, so that there is one implementation.
  using stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

 public:
  using value_type = T;
  using error_type = E;
  using unexpected_type = unexpected<E>;
  template <class U>
  using rebind = expected<U, E>;

  constexpr expected() requires std::is_default_constructible_v<stored> : has_(true) { std::construct_at(&value_); }
  template <class U = stored>
  requires(!std::is_void_v<T>) && std::is_constructible_v<stored, U> &&
      (!std::is_same_v<std::remove_cvref_t<U>, expected>)&&(!std::is_base_of_v<expected, std::remove_cvref_t<U>>)&&(
          !std::is_same_v<
              std::remove_cvref_t<U>,
              std::in_place_t>)&&(!std::is_same_v<std::remove_cvref_t<U>,
                                                  unexpected<E>>)constexpr explicit(!std::is_convertible_v<U, stored>)
          expected(U&& v)
      : has_(true) {
    std::construct_at(&value_, std::forward<U>(v));
  }
  template <class... A>
  constexpr explicit expected(std::in_place_t, A&&... a) : has_(true) {
    std::construct_at(&value_, std::forward<A>(a)...);
  }
  template <class... A>
  constexpr explicit expected(unexpect_t, A&&... a) : has_(false) {
    std::construct_at(&error_, std::forward<A>(a)...);
  }
  template <class G>
  constexpr expected(unexpected<G> u) : has_(false) {
    std::construct_at(&error_, std::move(u).error());
  }
  constexpr expected(const expected& o) : has_(o.has_) {
    if (has_)
      std::construct_at(&value_, o.value_);
    else
      std::construct_at(&error_, o.error_);
  }
  constexpr expected(expected&& o) noexcept(
      std::is_nothrow_move_constructible_v<stored>&& std::is_nothrow_move_constructible_v<E>)
      : has_(o.has_) {
    if (has_)
      std::construct_at(&value_, std::move(o.value_));
    else
      std::construct_at(&error_, std::move(o.error_));
  }
  constexpr expected& operator=(const expected& o) {
    if (this != &o) *this = expected(o);  // copied first, so that a throwing copy leaves this one whole
    return *this;
  }
  constexpr expected& operator=(expected&& o) {
    if (this == &o) return *this;
    if (has_ && o.has_)
      value_ = std::move(o.value_);
    else if (!has_ && !o.has_)
      error_ = std::move(o.error_);
    else if (has_)
      replace(value_, error_, std::move(o.error_)), has_ = false;
    else
      replace(error_, value_, std::move(o.value_)), has_ = true;
    return *this;
  }
  constexpr ~expected() {
    if (has_)
      std::destroy_at(&value_);
    else
      std::destroy_at(&error_);
  }

  constexpr bool has_value() const noexcept { return has_; }
  constexpr explicit operator bool() const noexcept { return has_; }
  constexpr std::add_lvalue_reference_t<T> operator*() & noexcept {
    if constexpr (!std::is_void_v<T>) return value_;
  }
  constexpr std::add_lvalue_reference_t<const T> operator*() const& noexcept {
    if constexpr (!std::is_void_v<T>) return value_;
  }
  constexpr std::add_rvalue_reference_t<T> operator*() && noexcept {
    if constexpr (!std::is_void_v<T>) return std::move(value_);
  }
  constexpr stored* operator->() noexcept { return &value_; }
  constexpr const stored* operator->() const noexcept { return &value_; }
  constexpr std::add_lvalue_reference_t<T> value() & {
    check();
    return **this;
  }
  constexpr std::add_lvalue_reference_t<const T> value() const& {
    check();
    return **this;
  }
  constexpr std::add_rvalue_reference_t<T> value() && {
    check();
    return *std::move(*this);
  }
  constexpr const E& error() const& noexcept { return error_; }
  constexpr E& error() & noexcept { return error_; }
  constexpr E&& error() && noexcept { return std::move(error_); }
  template <class U>
  constexpr stored value_or(U&& other) const& {
    return has_ ? value_ : static_cast<stored>(std::forward<U>(other));
  }
  template <class U>
  constexpr stored value_or(U&& other) && {
    return has_ ? std::move(value_) : static_cast<stored>(std::forward<U>(other));
  }
  template <class G>
  constexpr E error_or(G&& other) const {
    return has_ ? static_cast<E>(std::forward<G>(other)) : error_;
  }
  template <class... A>
  constexpr stored& emplace(A&&... a) {
    *this = expected(std::in_place, std::forward<A>(a)...);
    return value_;
  }

  template <class F>
  constexpr auto and_then(F&& f) && {
    if constexpr (std::is_void_v<T>) {
      using R = std::remove_cvref_t<std::invoke_result_t<F>>;
      return has_ ? std::invoke(std::forward<F>(f)) : R(unexpect, std::move(error_));
    } else {
      using R = std::remove_cvref_t<std::invoke_result_t<F, T&&>>;
      return has_ ? std::invoke(std::forward<F>(f), std::move(value_)) : R(unexpect, std::move(error_));
    }
  }
  template <class F>
  constexpr auto transform(F&& f) && {
    if constexpr (std::is_void_v<T>) {
      using R = expected<std::remove_cvref_t<std::invoke_result_t<F>>, E>;
      return has_ ? made_by<R>(std::forward<F>(f)) : R(unexpect, std::move(error_));
    } else {
      using R = expected<std::remove_cvref_t<std::invoke_result_t<F, T&&>>, E>;
      return has_ ? made_by<R>(std::forward<F>(f), std::move(value_)) : R(unexpect, std::move(error_));
    }
  }
  template <class F>
  constexpr auto transform_error(F&& f) && {
    using R = expected<T, std::remove_cvref_t<std::invoke_result_t<F, E&&>>>;
    if (!has_) return R(unexpect, std::invoke(std::forward<F>(f), std::move(error_)));
    if constexpr (std::is_void_v<T>)
      return R();
    else
      return R(std::in_place, std::move(value_));
  }
  template <class F>
  constexpr expected or_else(F&& f) && {
    return has_ ? std::move(*this) : std::invoke(std::forward<F>(f), std::move(error_));
  }

  friend constexpr bool operator==(const expected& a, const expected& b) {
    return a.has_ == b.has_ && (a.has_ ? a.value_ == b.value_ : a.error_ == b.error_);
  }
  template <class U>
  requires(!std::is_void_v<T>) &&
      (!std::is_base_of_v<expected, U>)friend constexpr bool operator==(const expected& a, const U& b) {
    return a.has_ && a.value_ == b;
  }

 private:
  template <class R, class F, class... A>
  static constexpr R made_by(F&& f, A&&... a) {
    if constexpr (std::is_void_v<typename R::value_type>) {
      std::invoke(std::forward<F>(f), std::forward<A>(a)...);
      return R();
    } else {
      return R(std::invoke(std::forward<F>(f), std::forward<A>(a)...));
    }
  }
  constexpr void check() const {
    if (!has_) throw bad_expected_access<E>(error_);
  }
  template <class Old, class New>
  static constexpr void replace(Old& old, New& place, New&& with) {
    if constexpr (std::is_nothrow_move_constructible_v<New>) {
      std::destroy_at(&old);
      std::construct_at(&place, std::move(with));
    } else {
      Old keep(std::move(old));
      std::destroy_at(&old);
      try {
        std::construct_at(&place, std::move(with));
      } catch (...) {
        std::construct_at(&old, std::move(keep));
        throw;
      }
    }
  }
  union {
    stored value_;
    E error_;
  };
  bool has_;
};

}  // namespace chaos
#endif
