// A circuit breaker: calls that keep failing are not made for a while.
//
//   chaos::breaker redis{"redis", {.failure_threshold = 5, .recovery_timeout = 30s}};
//   chaos::lru<std::string, std::string> l1{10'000, {.fresh = 5s, .stale = 1h}};
//
//   auto r = redis.call([&] { return client.get(key); })          // T, result<T>, or throws
//                .or_cached(l1, key)                              // stale while error
//                .or_else([](const chaos::failure&) { return std::string{"-"}; });
//   if (auto permit = redis.try_acquire())                        // asynchronous: see permit.hpp
//     async_get(key, [p = std::move(permit)](auto reply) mutable { p.record(reply); });
//   auto v = co_await redis.call([&] { return client.async_get(key); });  // result<T>
//   auto s = redis.on_transition([](const chaos::transition& t) { ... });
//
// Closed → open: failure_threshold failures in a row, or failure_rate of the window, or slow_call_rate of it; rates
// are judged when a failure or a slow call is recorded. Open → half open: after recovery_timeout. Half open → closed:
// success_threshold successful probes; → open: one failed or slow probe, or one that never answers
// (half_open_timeout). Thread-safety: every member may be called from any thread; a child of fork() has a working
// copy. A success in CLOSED takes no lock, reads no clock (unless slow calls or a time window are asked for) and
// shares no cache line. Units: std::chrono; rates are fractions. Errors: wrong settings throw std::invalid_argument
// naming the field; a rejection is a value (result with failure{open, retry_after}); call() itself throws nothing.
// With libchaos.so preloaded, transitions, sampled rejections, late results and fallbacks stand on its timeline, and
// `chaos-ctl breaker` reaches the breaker; see annotate.hpp.
// Source of algorithm: ours; states and names follow resilience4j. Exactness of the window: see breaker/window.hpp.
#pragma once
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "breaker/cancellation.hpp"
#include "breaker/core.hpp"
#include "breaker/coroutine.hpp"
#include "breaker/permit.hpp"
#include "breaker/prometheus.hpp"
#include "breaker/registry.hpp"
#include "result.hpp"
#include "timeout.hpp"

namespace chaos {

class breaker {
 public:
  explicit breaker(std::string name, breaker_settings settings = {}) : core_(std::move(name), std::move(settings)) {
    breakers().add(this, &core_);
  }
  breaker(const breaker&) = delete;
  breaker& operator=(const breaker&) = delete;
  ~breaker() { breakers().remove(this); }

  // Makes the call if it is admitted. `f` returns a T, a result<T>, or an awaitable of one of these, and may throw.
  // A value is judged by chaos_classify(const T&) if there is one; a value judged a failure becomes failure{error}.
  template <class F>
  auto call(F&& f) {
    using R = std::invoke_result_t<F&>;
    if constexpr (detail::awaitable<R>)
      return call_async<std::decay_t<F>>(core_, std::forward<F>(f));
    else
      return call_now(f, [](const auto& v) { return detail::verdict_on(v); });
  }
  // The same with a verdict on the value for this call only: outcome(const T&).
  template <class F, class Classify>
  auto call(F&& f, Classify&& classify) {
    static_assert(!detail::awaitable<std::invoke_result_t<F&>>, "an asynchronous call is judged by chaos_classify()");
    return call_now(f, classify);
  }

  permit try_acquire() noexcept { return permit(core_, core_.try_acquire()); }

  // The state that the next call would meet, though no call has come yet.
  chaos::state state() noexcept { return core_.current_state(); }
  std::chrono::nanoseconds retry_after() const noexcept { return core_.retry_after(); }
  breaker_metrics metrics() { return core_.metrics(); }
  const std::string& name() const noexcept { return core_.name(); }
  const breaker_settings& settings() const noexcept { return core_.settings(); }

  subscription on_transition(std::function<void(const transition&)> listener) {
    return subscription(core_.shared_hub(), core_.hub().add(std::move(listener)));
  }

  // Rejects everything until told otherwise.
  void force_open() noexcept { core_.force(chaos::state::forced_open, transition_reason::forced); }
  // Admits everything and counts nothing.
  void disable() noexcept { core_.force(chaos::state::disabled, transition_reason::forced); }
  // Admits everything, counts, and never opens.
  void metrics_only() noexcept { core_.force(chaos::state::metrics_only, transition_reason::forced); }
  // Opens as a trip would: it recovers by itself.
  void trip() noexcept { core_.force(chaos::state::open, transition_reason::forced); }
  // Closed with an empty window. Permits that are out become late.
  void reset() noexcept { core_.force(chaos::state::closed, transition_reason::reset); }

  // For clients that answer from elsewhere by themselves, as redis_cache does: counted and annotated.
  void fallback_used(const char* how) noexcept { core_.note_fallback(true, how); }

  // For storage: see breaker_store.hpp.
  breaker_snapshot snapshot() noexcept { return core_.snapshot(); }
  bool restore(const breaker_snapshot& s) noexcept { return core_.restore(s); }

 private:
  template <class R>
  struct flat {
    using type = result<R>;
  };
  template <class T>
  struct flat<result<T>> {
    using type = result<T>;
  };

  static failure refused(detail::ticket t) noexcept {
    return {failure_kind::open, std::chrono::nanoseconds(static_cast<std::int64_t>(t.start_ns)), {}, nullptr};
  }
  static failure judged() noexcept { return {failure_kind::error, {}, {}, "the reply was classified as a failure"}; }
  static failure thrown() { return {failure_kind::error, {}, detail::caught(), nullptr}; }

  template <class F, class Classify>
  auto call_now(F& f, const Classify& classify) ->
      typename flat<std::remove_cvref_t<std::invoke_result_t<F&>>>::type {
    using T = typename flat<std::remove_cvref_t<std::invoke_result_t<F&>>>::type;
    const detail::ticket t = core_.try_acquire();
    if (!t.word) [[unlikely]]
      return T(refused(t), &core_);
    permit p(core_, t);
    try {
      return admitted<T>(p, f, classify);
    } catch (...) {
      const failure what = thrown();
      p.record(what.exception);
      return T(what, &core_);
    }
  }

  // One variable, returned in one place: the result is built where the caller wants it.
  template <class T, class F, class Classify>
  T admitted(permit& p, F& f, const Classify& classify) {
    if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
      std::invoke(f);
      p.success();
      return T();
    } else {
      T made(std::invoke(f));
      settle<detail::is_result<std::remove_cvref_t<std::invoke_result_t<F&>>>>(p, made, classify);
      return made;
    }
  }

  // MayBeFailure: the callable returned a result; anything else that it returned is a value.
  template <bool MayBeFailure, class T, class Classify>
  void settle(permit& p, T& made, const Classify& classify) {
    outcome o = outcome::success;
    if constexpr (MayBeFailure) {
      if (!made.has_value()) [[unlikely]] {
        // A failure that carries an exception is judged as if it had been thrown.
        if (made.error().exception)
          p.record(made.error().exception);
        else
          p.failure();
        made = T(std::move(made.error()), &core_);
        return;
      }
    }
    if constexpr (!std::is_void_v<typename T::value_type>) o = classify(*made);
    if (o == outcome::success) [[likely]] {
      p.success();
      return;
    }
    p.record(o);
    if (o == outcome::failure) made = T(judged(), &core_);
  }

  template <class F>
  auto call_async(detail::breaker_core& core, F f)
      -> task<typename flat<std::remove_cvref_t<detail::await_result<std::invoke_result_t<F&>>>>::type> {
    using R = std::remove_cvref_t<detail::await_result<std::invoke_result_t<F&>>>;
    using T = typename flat<R>::type;
    permit p(core, core.try_acquire());
    if (!p) co_return T(failure{failure_kind::open, p.retry_after(), {}, nullptr}, &core);
    failure what;
    try {
      if constexpr (std::is_void_v<R>) {
        co_await std::invoke(f);
        p.success();
        co_return T();
      } else {
        T made(co_await std::invoke(f));
        settle<detail::is_result<R>>(p, made, [](const auto& v) { return detail::verdict_on(v); });
        co_return made;
      }
    } catch (...) {
      what = thrown();
    }
    p.record(what.exception);
    co_return T(what, &core);
  }

  detail::breaker_core core_;
};

}  // namespace chaos
