// Drives a circuit breaker, ours or another, through the traps of the field and says which it falls into.
//
//   for (const auto& f : chaos::lint::run(my_breaker))
//     std::cout << f.trap << ": " << to_string(f.verdict) << ' ' << f.detail << '\n';
//
// Each trap starts with a breaker of its own. A trap that cannot be tried (no listeners, no threads) is `skipped`,
// and a skipped trap is no passed trap. Thread-safety: one run at a time for each breaker. Units: nanoseconds.
// Errors: a make() that returns NULL is a failed finding. A breaker that deadlocks under its callback is found by its
// deadline (2 s) and then leaked with its thread. Source of the traps: the behaviour of resilience4j, Polly,
// failsafe-go, gobreaker, Hystrix, Sentinel, recloser.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "breaker_lint.h"

namespace chaos::lint {

enum class verdict { passed, failed, skipped };

inline const char* to_string(verdict v) noexcept {
  return v == verdict::passed ? "passed" : v == verdict::failed ? "failed" : "skipped";
}

struct finding {
  std::string trap;
  lint::verdict verdict = lint::verdict::passed;
  std::string detail;
};

namespace detail {

inline constexpr std::uint64_t second = 1'000'000'000;
inline constexpr chaos_lint_settings settings{3, 10 * second, 5 * second, 3, 2};

// One breaker under one trap.
class subject {
 public:
  explicit subject(const chaos_lint_breaker& api) : api_(api), breaker_(api.make(&settings)) {}
  subject(const subject&) = delete;
  ~subject() {
    if (breaker_) api_.destroy(breaker_);
  }
  explicit operator bool() const { return breaker_ != nullptr; }
  void* leak() { return std::exchange(breaker_, nullptr); }
  void* get() const { return breaker_; }

  std::int64_t acquire() { return api_.acquire(breaker_); }
  void success(std::int64_t t) { api_.success(breaker_, t); }
  void failure(std::int64_t t) { api_.failure(breaker_, t); }
  void ignore(std::int64_t t) {
    if (api_.ignore) api_.ignore(breaker_, t);
  }
  void late(std::int64_t t, bool ok) {
    if (api_.late)
      api_.late(breaker_, t, ok);
    else if (ok)
      success(t);
    else
      failure(t);
  }
  int state() { return api_.state(breaker_); }
  void advance(std::uint64_t ns) { api_.advance(breaker_, ns); }

  void trip() {
    for (std::uint32_t i = 0; i < settings.failure_threshold; ++i) {
      const auto t = acquire();
      if (t >= 0) failure(t);
    }
  }
  void let_recover() { advance(settings.recovery_timeout_ns + second / 10); }
  // All that are admitted, at most `limit`.
  std::vector<std::int64_t> take_all(std::size_t limit = 1000) {
    std::vector<std::int64_t> taken;
    while (taken.size() < limit) {
      const auto t = acquire();
      if (t < 0) break;
      taken.push_back(t);
    }
    return taken;
  }

 private:
  const chaos_lint_breaker& api_;
  void* breaker_;
};

using outcome = std::string;  // empty = passed; "skip: why"; else what went wrong

inline outcome opens_and_recovers(const chaos_lint_breaker&, subject& b) {
  if (b.state() != CHAOS_LINT_CLOSED) return "does not start closed";
  b.trip();
  if (b.acquire() >= 0) return "still admits after failure_threshold failures in a row";
  b.let_recover();
  for (std::uint32_t i = 0; i < settings.success_threshold; ++i) {
    const auto t = b.acquire();
    if (t < 0) return "rejects probe " + std::to_string(i + 1) + " after its recovery time";
    b.success(t);
  }
  return b.state() == CHAOS_LINT_CLOSED ? "" : "is not closed after success_threshold successful probes";
}

inline outcome hung_probe(const chaos_lint_breaker&, subject& b) {
  b.trip();
  b.let_recover();
  if (b.take_all(settings.half_open_permits).empty()) return "admits no probe";
  // None of them ever returns. More than enough time passes; the dependency is well again.
  for (int round = 0; round < 10; ++round) {
    b.advance(settings.half_open_timeout_ns + settings.recovery_timeout_ns + second / 10);
    const auto t = b.acquire();
    if (t >= 0) return "";
  }
  return "rejects for ever after probes that never returned";
}

inline outcome late_success_closes(const chaos_lint_breaker&, subject& b) {
  std::vector<std::int64_t> early;
  for (int i = 0; i < 10; ++i)
    if (const auto t = b.acquire(); t >= 0) early.push_back(t);
  b.trip();
  b.let_recover();
  const auto probe = b.acquire();
  if (probe < 0) return "admits no probe";
  for (const auto t : early) b.late(t, true);
  return b.state() != CHAOS_LINT_CLOSED ? "" : "successes of calls from before it opened closed the circuit";
}

inline outcome late_failure_opens(const chaos_lint_breaker&, subject& b) {
  std::vector<std::int64_t> early;
  for (int i = 0; i < 10; ++i)
    if (const auto t = b.acquire(); t >= 0) early.push_back(t);
  b.trip();
  b.let_recover();
  for (std::uint32_t i = 0; i < settings.success_threshold; ++i)
    if (const auto t = b.acquire(); t >= 0) b.success(t);
  if (b.state() != CHAOS_LINT_CLOSED) return "does not close";
  for (const auto t : early) b.late(t, false);
  return b.state() == CHAOS_LINT_CLOSED ? ""
                                        : "failures of calls from before the outage opened the recovered circuit";
}

inline outcome ignored_keeps_permit(const chaos_lint_breaker&, subject& b) {
  b.trip();
  b.let_recover();
  for (int round = 0; round < 50; ++round) {
    const auto row = b.take_all(settings.half_open_permits);
    if (row.empty()) return "rejects after " + std::to_string(round) + " rounds of ignored probes: permits are lost";
    for (const auto t : row) b.ignore(t);
  }
  return "";
}

inline outcome ignored_mints_permit(const chaos_lint_breaker&, subject& b) {
  b.trip();
  b.let_recover();
  for (int i = 0; i < 20; ++i)
    if (const auto t = b.acquire(); t >= 0) b.ignore(t);
  if (b.state() == CHAOS_LINT_CLOSED) return "ignored probes closed the circuit";
  const auto n = b.take_all().size();
  return n <= settings.half_open_permits ? ""
                                         : "admits " + std::to_string(n) + " probes at a time after ignored ones";
}

inline outcome everyone_admitted(const chaos_lint_breaker&, subject& b) {
  b.trip();
  b.let_recover();
  const auto n = b.take_all().size();
  if (n == 0) return "admits no probe";
  return n <= settings.half_open_permits ? ""
                                         : "admits " + std::to_string(n) + " calls at half-open, " +
                                               std::to_string(settings.half_open_permits) + " asked for";
}

inline outcome state_lags(const chaos_lint_breaker&, subject& b) {
  b.trip();
  if (b.state() != CHAOS_LINT_OPEN) return "does not say that it is open";
  b.let_recover();
  return b.state() != CHAOS_LINT_OPEN ? "" : "says open after its recovery time until a call comes";
}

inline outcome deadline_after_state(const chaos_lint_breaker& api, subject& b) {
  if (!api.threads) return "skip: not for several threads";
  (void)b;
  // The clock stands still: a breaker that opens must be neither half-open nor admit anything after. One thread opens
  // it while another asks all the time.
  for (int round = 0; round < 100; ++round) {
    subject fresh(api);
    if (!fresh) return "make() failed";
    std::atomic<bool> opened{false}, stop{false};
    std::atomic<int> early{0}, asked{0};
    std::thread asking([&] {
      while (!stop) {
        for (int i = 0; i < 50; ++i) early += fresh.state() == CHAOS_LINT_HALF_OPEN;
        const bool was_open = opened;
        const auto t = fresh.acquire();
        early += t >= 0 && was_open;
        if (t >= 0) fresh.ignore(t);
        ++asked;
      }
    });
    const auto wait_for_asks = [&](int n) {
      for (const int from = asked; asked < from + n;) std::this_thread::yield();
    };
    wait_for_asks(1);
    for (int i = 0; i < 50 && fresh.state() == CHAOS_LINT_CLOSED; ++i) fresh.trip();
    opened = true;
    wait_for_asks(2);
    stop = true;
    asking.join();
    if (early) return "was half-open or admitted a call before its recovery time";
  }
  return "";
}

inline outcome callback_under_lock(const chaos_lint_breaker& api, subject& b) {
  if (!api.on_transition) return "skip: no listeners";
  struct shared {
    std::mutex mutex;
    std::condition_variable done;
    const chaos_lint_breaker* api;
    void* breaker;
    bool finished = false;
  };
  auto s = std::make_shared<shared>();
  s->api = &api;
  s->breaker = b.get();
  // The callback uses the breaker. Under its lock that never returns.
  api.on_transition(
      b.get(),
      [](void* p) {
        auto* x = static_cast<shared*>(p);
        (void)x->api->state(x->breaker);
        (void)x->api->acquire(x->breaker);
      },
      s.get());
  std::thread([s] {
    for (std::uint32_t i = 0; i < settings.failure_threshold; ++i) {
      const auto t = s->api->acquire(s->breaker);
      if (t >= 0) s->api->failure(s->breaker, t);
    }
    std::lock_guard lock(s->mutex);
    s->finished = true;
    s->done.notify_all();
  }).detach();
  std::unique_lock lock(s->mutex);
  if (s->done.wait_for(lock, std::chrono::seconds(2), [&] { return s->finished; })) return "";
  static std::vector<std::shared_ptr<shared>> stuck;  // its thread is in it for good
  stuck.push_back(s);
  b.leak();
  return "a callback that uses the breaker never returns";
}

struct trap {
  const char* name;
  outcome (*try_it)(const chaos_lint_breaker&, subject&);
};
inline constexpr trap traps[] = {
    {"opens_and_recovers", opens_and_recovers},
    {"hung_probe_wedges", hung_probe},
    {"late_success_closes", late_success_closes},
    {"late_failure_opens", late_failure_opens},
    {"ignored_keeps_permit", ignored_keeps_permit},
    {"ignored_mints_permit", ignored_mints_permit},
    {"everyone_admitted", everyone_admitted},
    {"deadline_after_state", deadline_after_state},
    {"state_lags", state_lags},
    {"callback_under_lock", callback_under_lock},
};

}  // namespace detail

inline std::vector<finding> run(const chaos_lint_breaker& api) {
  std::vector<finding> all;
  for (const auto& t : detail::traps) {
    detail::subject b(api);
    const std::string said = b ? t.try_it(api, b) : "make() failed";
    const bool skipped = said.rfind("skip: ", 0) == 0;
    all.push_back({t.name,
                   said.empty() ? verdict::passed
                   : skipped    ? verdict::skipped
                                : verdict::failed,
                   skipped ? said.substr(6) : said});
  }
  return all;
}

}  // namespace chaos::lint
