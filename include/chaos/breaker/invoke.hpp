// Calls a callable and makes a result of whatever it returns or throws. Shared by retry, bulkhead and time-out.
// Thread-safety: as the callable. Errors: none are thrown.
#pragma once
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

#include "../result.hpp"
#include "cancellation.hpp"

namespace chaos::detail {

template <class R>
struct result_of {
  using type = result<R>;
};
template <class T>
struct result_of<result<T>> {
  using type = result<T>;
};
// result<T> for a callable that returns T or result<T>.
template <class F, class... A>
using result_of_call = typename result_of<std::remove_cvref_t<std::invoke_result_t<F, A...>>>::type;

template <class F, class... A>
result_of_call<F, A...> invoke_to_result(F&& f, A&&... a) {
  using R = result_of_call<F, A...>;
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F, A...>>) {
      std::invoke(std::forward<F>(f), std::forward<A>(a)...);
      return R();
    } else {
      return R(std::invoke(std::forward<F>(f), std::forward<A>(a)...));
    }
  } catch (...) {
    return R(failure{failure_kind::error, {}, caught(), nullptr});
  }
}

}  // namespace chaos::detail
