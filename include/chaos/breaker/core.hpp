// The state machine of a breaker. Applications use chaos::breaker (breaker.hpp), which owns one of these.
//
// Rules that everything here keeps:
//  - the word (word.hpp) is the only state; a transition is one compare-and-swap made with the lock held, so that the
//    queue of events has their order; only permits of HALF_OPEN are counted without it;
//  - a successful call in CLOSED takes no lock, reads no clock and writes nothing that another thread writes;
//  - no foreign code (classify, listeners, fallbacks) runs under the lock, and nothing here allocates after start;
//  - a deadline that has passed counts as passed before anybody acts on it, see state_at().
// Thread-safety: all of it. Units: in the names. Errors: none after construction.
#pragma once
#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "events.hpp"
#include "fallback_host.hpp"
#include "metrics.hpp"
#include "recovery.hpp"
#include "settings.hpp"
#include "shards.hpp"
#include "shim_link.hpp"
#include "verdicts.hpp"

namespace chaos {

// What storage keeps of a breaker.
struct breaker_snapshot {
  chaos::state state = chaos::state::closed;
  std::chrono::nanoseconds remaining{0};  // open: until the next probe
  std::uint32_t openings_in_a_row = 0;
};

namespace detail {

// word 0 = not admitted, and then start_ns is the time to wait.
struct ticket {
  std::uint64_t word = 0;
  std::uint64_t start_ns = 0;
};

class breaker_core final : public fallback_host {
 public:
  breaker_core(std::string name, breaker_settings settings)
      : name_(std::move(name)),
        settings_(checked(std::move(settings), name_)),
        shim_(name_),
        clock_(settings_.clock),
        slow_ns_(static_cast<std::uint64_t>(settings_.slow_call_duration.count())),
        hub_(std::make_shared<event_hub>()),
        verdicts_(settings_, now_ns()),
        recovery_(settings_, settings_.jitter_seed ? settings_.jitter_seed
                                                   : monotonic_ns() ^ reinterpret_cast<std::uintptr_t>(this)) {
    timed_ = slow_ns_ != 0 || settings_.monitoring_period.count() != 0;
    fallback_timeout_ns = static_cast<std::uint64_t>(settings_.fallback_timeout.count());
    publish();
  }
  breaker_core(const breaker_core&) = delete;
  breaker_core& operator=(const breaker_core&) = delete;

  std::uint64_t now_ns() const noexcept override { return clock_ ? clock_->now_ns() : monotonic_ns(); }
  const std::string& name() const noexcept { return name_; }
  const breaker_settings& settings() const noexcept { return settings_; }
  event_hub& hub() noexcept { return *hub_; }
  const std::shared_ptr<event_hub>& shared_hub() const noexcept { return hub_; }

  [[gnu::always_inline]] ticket try_acquire() noexcept {
    const std::uint64_t w = word_.load(std::memory_order_acquire);
    if (!w) __builtin_unreachable();  // no word is 0, see word.hpp
    if (state_of(w) == state::closed && !shim_.pending()) [[likely]]
      return {w, timed_ ? start_time() : 0};
    return acquire_slow();
  }

  [[gnu::always_inline]] void success(ticket t) noexcept {
    // The word is read again: a permit of an earlier CLOSED must not count into the window of this one.
    if ((static_cast<std::uint64_t>(state_of(t.word)) | t.start_ns) == 0 &&
        word_.load(std::memory_order_relaxed) == t.word) [[likely]]
      return shards_.succeeded();
    success_slow(t);
  }

  void failure(ticket t) noexcept {
    const std::uint64_t now = timed_ || state_of(t.word) == state::half_open ? now_ns() : 0;
    finish(t, true, is_slow(t, now), now);
    drain();
  }

  // No verdict: the permit goes back. `counted` for a result classified as ignored, not for a dropped permit.
  void release(ticket t, bool counted) noexcept {
    if (counted) shards_.ignored();
    if (state_of(t.word) != state::half_open) return;
    const std::uint64_t now = now_ns();
    std::uint64_t w = settled(now);
    while (same_period(w, t.word) && !word_.compare_exchange_weak(w, w - 1, std::memory_order_acq_rel)) {
    }
    drain();
  }

  chaos::state current_state() noexcept {
    if (shim_.pending() || shim_.commanded()) obey();
    return state_at(word_.load(std::memory_order_acquire), now_ns());
  }
  std::chrono::nanoseconds retry_after() const noexcept {
    return std::chrono::nanoseconds(
        static_cast<std::int64_t>(open_left_ns(word_.load(std::memory_order_acquire), now_ns())));
  }

  void force(state to, transition_reason why) noexcept {
    {
      std::lock_guard lock(hub_->mutex);
      force_locked(to, why);
    }
    drain();
  }

  breaker_snapshot snapshot() noexcept {
    std::lock_guard lock(hub_->mutex);
    const std::uint64_t w = word_.load(std::memory_order_acquire), now = now_ns();
    breaker_snapshot s{state_at(w, now), std::chrono::nanoseconds(0), openings_};
    s.remaining = std::chrono::nanoseconds(static_cast<std::int64_t>(open_left_ns(w, now)));
    return s;
  }

  // Applies a stored state, clamped to what the settings allow; only while nothing has happened yet.
  bool restore(const breaker_snapshot& s) noexcept {
    {
      std::lock_guard lock(hub_->mutex);
      std::uint64_t w = word_.load(std::memory_order_acquire);
      const std::uint64_t now = now_ns();
      if (generation_of(w) != 1 || verdicts_.calls(shards_.total_succeeded()) != 0) return false;
      openings_ = std::min<std::uint32_t>(s.openings_in_a_row, 1000);
      if (s.state == state::open || s.state == state::half_open) {
        openings_ = std::max<std::uint32_t>(openings_, 1);
        const auto longest = static_cast<std::int64_t>(recovery_.longest(openings_));
        const std::int64_t left =
            s.state == state::open ? std::clamp<std::int64_t>(s.remaining.count(), 0, longest) : 0;
        move_locked(w,
                    make_word(state::open, next_generation(w), open_payload(now + static_cast<std::uint64_t>(left))),
                    transition_reason::restored, now);
      } else if (s.state != state::closed) {
        force_locked(s.state, transition_reason::restored);
      }
    }
    drain();
    return true;
  }

  breaker_metrics metrics() {
    breaker_metrics m;
    m.name = name_;
    m.state = current_state();
    m.ignored = shards_.total_ignored();
    m.not_permitted = shards_.total_rejected();
    m.late_results = late_.load(std::memory_order_relaxed);
    m.fallbacks = shards_.total_fallbacks();
    m.fallback_failures = fallback_failures_.load(std::memory_order_relaxed);
    m.listener_errors = hub_->listener_errors();
    m.transitions_lost = hub_->lost();
    std::lock_guard lock(hub_->mutex);
    const std::uint64_t ok = shards_.total_succeeded();
    m.successful = successful_locked();
    m.failed = verdicts_.failed();
    m.slow_successful = verdicts_.slow_successful();
    m.slow_failed = verdicts_.slow_failed();
    m.transitions = transitions_;
    const verdicts::totals t = verdicts_.window(ok, now_ns());
    m.buffered_calls = t.calls;
    if (t.calls >= settings_.minimum_calls) {
      m.failure_rate = static_cast<double>(t.failed) / static_cast<double>(t.calls);
      if (slow_ns_) m.slow_call_rate = static_cast<double>(t.slow) / static_cast<double>(t.calls);
    }
    return m;
  }

  // After fork(), with the lock held (see registry.hpp).
  void after_fork_in_child() noexcept {
    hub_->after_fork_in_child();
    shim_.after_fork_in_child();
  }

  void note_fallback(bool worked, const char* how) noexcept override {
    if (worked)
      shards_.fell_back();
    else
      fallback_failures_.fetch_add(1, std::memory_order_relaxed);
    if (!annotating()) [[likely]]
      return;
    const std::uint32_t period = static_cast<std::uint32_t>(word_.load(std::memory_order_relaxed) >> 40);
    if (!worked ||
        fallback_noted_.exchange(period, std::memory_order_relaxed) != period)  // used: the first of a period
      shim_.note("fallback %s: %s", how, worked ? "used" : "failed");
  }

  // Tells listeners and the timeline what happened. Cheap when nothing did.
  void drain() noexcept {
    hub_->drain([this](const transition& t) {
      if (annotating()) {
        if (t.reason == transition_reason::consecutive_failures)
          shim_.note("%s -> %s (%s) after %u failures", to_string(t.from), to_string(t.to), to_string(t.reason),
                     static_cast<unsigned>(settings_.failure_threshold));
        else
          shim_.note("%s -> %s (%s)", to_string(t.from), to_string(t.to), to_string(t.reason));
      }
      publish();
    });
  }

 private:
  // Never 0: a permit of CLOSED whose start is 0 belongs to a breaker that needs no clock.
  std::uint64_t start_time() const noexcept { return now_ns() | 1; }
  bool is_slow(ticket t, std::uint64_t now) const noexcept {
    return slow_ns_ != 0 && now >= t.start_ns && (now | 1) - t.start_ns >= slow_ns_;
  }

  // What the word means at this time, whether or not a call has come to act on it.
  chaos::state state_at(std::uint64_t w, std::uint64_t now) const noexcept {
    const state s = state_of(w);
    return s != state::open && s != state::half_open ? s : open_left_ns(w, now) ? state::open : state::half_open;
  }
  // Time until a probe may be admitted again; 0 when one may be now, or when nothing is waited for.
  std::uint64_t open_left_ns(std::uint64_t w, std::uint64_t now) const noexcept {
    if (state_of(w) == state::open) return open_remaining_ns(w, now);
    std::uint64_t deadline = 0;
    if (state_of(w) != state::half_open || outstanding_of(w) == 0 || !half_open_lapsed(w, now, &deadline)) return 0;
    // Through the payload, so that the answer is the same, to the tick, before and after a call settles it.
    return open_remaining_ns(open_payload(deadline + next_recovery_ns_.load(std::memory_order_relaxed)), now);
  }

  [[gnu::noinline]] ticket acquire_slow() noexcept {
    if (shim_.pending() || (shim_.commanded() && shim_.worth_a_look())) obey();
    for (;;) {
      std::uint64_t w = word_.load(std::memory_order_acquire);
      switch (state_of(w)) {
        case state::closed:
        case state::metrics_only: return {w, timed_ ? start_time() : 0};
        case state::disabled: return {w, 0};
        case state::open: {
          const std::uint64_t now = now_ns();
          if (const std::uint64_t left = open_remaining_ns(w, now)) return rejected(w, left);
          std::unique_lock lock(hub_->mutex);
          if (word_.load(std::memory_order_relaxed) != w) continue;
          next_recovery_ns_.store(recovery_.draw(openings_ + 1), std::memory_order_relaxed);
          const std::uint64_t next =
              make_word(state::half_open, next_generation(w), half_open_payload(now + half_open_timeout_ns(), 0, 1));
          move_locked(w, next, transition_reason::recovery_elapsed, now);
          lock.unlock();
          drain();
          return {next, now};
        }
        case state::half_open: {
          const std::uint64_t now = now_ns();
          w = settled(now);
          if (state_of(w) != state::half_open) {
            drain();
            continue;
          }
          const std::uint64_t out = outstanding_of(w), ok = succeeded_of(w);
          if (out >= settings_.half_open_permits ||
              out + ok >= std::max(settings_.half_open_permits, settings_.success_threshold))
            return rejected(w, half_open_timeout_ns());
          // Each probe starts the clock anew, so that it has the whole time. A hung one can put off nothing by that:
          // where more are admitted, nobody is kept out.
          const std::uint64_t next = make_word(state::half_open, generation_of(w),
                                               half_open_payload(now + half_open_timeout_ns(), ok, out + 1));
          if (word_.compare_exchange_weak(w, next, std::memory_order_acq_rel)) return {next, now};
          continue;
        }
        default: return rejected(w, static_cast<std::uint64_t>(settings_.recovery_timeout.count()));
      }
    }
  }

  ticket rejected(std::uint64_t w, std::uint64_t retry_after_ns) noexcept {
    const std::uint64_t count = shards_.rejected();
    if (annotating()) [[unlikely]] {  // the first of each period, and every 1,024th of a thread
      const std::uint32_t period = static_cast<std::uint32_t>(w >> 40);
      if (count % 1024 == 0 || rejection_noted_.exchange(period, std::memory_order_relaxed) != period)
        shim_.note("rejected while %s, retry after %llu ms", to_string(state_of(w)),
                   static_cast<unsigned long long>(retry_after_ns / 1'000'000));
    }
    return {0, retry_after_ns};
  }

  // The word after a half-open whose probes ran out of time was opened again, as of its deadline.
  std::uint64_t settled(std::uint64_t now) noexcept {
    std::uint64_t w = word_.load(std::memory_order_acquire), deadline = 0;
    if (state_of(w) != state::half_open || !outstanding_of(w) || !half_open_lapsed(w, now, &deadline)) return w;
    std::lock_guard lock(hub_->mutex);
    w = word_.load(std::memory_order_acquire);
    while (state_of(w) == state::half_open && outstanding_of(w) && half_open_lapsed(w, now, &deadline))
      if (open_locked(w, transition_reason::probe_timeout, deadline)) return word_.load(std::memory_order_acquire);
    return w;
  }

  [[gnu::noinline]] void success_slow(ticket t) noexcept {
    if (!t.word || state_of(t.word) == state::disabled) return;
    const std::uint64_t now = timed_ || state_of(t.word) == state::half_open ? now_ns() : 0;
    const bool slow = is_slow(t, now);
    if (state_of(t.word) != state::half_open && !slow) {
      if (word_.load(std::memory_order_relaxed) != t.word) return late("success");
      verdicts_.add_success(now);
      return shards_.succeeded();
    }
    finish(t, false, slow, now);
    drain();
  }

  // A verdict that needs the lock: a failure, a slow call, or any result of a probe.
  void finish(ticket t, bool failed, bool slow, std::uint64_t now) noexcept {
    if (!t.word || state_of(t.word) == state::disabled) return;
    if (state_of(t.word) == state::half_open) return finish_probe(t, failed, slow, now);
    std::unique_lock lock(hub_->mutex);
    std::uint64_t w = word_.load(std::memory_order_relaxed);
    if (w != t.word) {
      lock.unlock();
      return late(failed ? "failure" : "slow success");
    }
    const std::uint64_t ok = shards_.total_succeeded();
    verdicts_.add(failed, slow, ok, now);
    if (state_of(w) == state::closed)
      if (const auto why = verdicts_.judge(ok, now)) open_locked(w, *why, now ? now : now_ns());
    const bool report = shim_.linked() && verdicts_.failed() % 64 == 0;
    lock.unlock();
    if (report) publish();
  }

  void finish_probe(ticket t, bool failed, bool slow, std::uint64_t now) noexcept {
    std::uint64_t w = settled(now);
    while (same_period(w, t.word)) {
      if (!failed && !slow && succeeded_of(w) + 1 < settings_.success_threshold) {
        if (!word_.compare_exchange_weak(w, w + (1 << 10) - 1, std::memory_order_acq_rel)) continue;
        probe_ok_.fetch_add(1, std::memory_order_relaxed);
        return;
      }
      std::lock_guard lock(hub_->mutex);
      w = word_.load(std::memory_order_acquire);
      if (!same_period(w, t.word)) break;
      if (!failed && !slow && succeeded_of(w) + 1 < settings_.success_threshold) continue;
      if (failed || slow) {
        if (!open_locked(w, failed ? transition_reason::probe_failed : transition_reason::probe_slow, now)) continue;
        verdicts_.count(failed, slow, shards_.total_succeeded());
      } else {
        verdicts_.forget(shards_.total_succeeded());  // first, so that no success of the new period can be missed
        if (!move_locked(w, make_word(state::closed, next_generation(w)), transition_reason::probes_succeeded, now))
          continue;
        openings_ = 0;
        probe_ok_.fetch_add(1, std::memory_order_relaxed);
      }
      return;
    }
    late(failed ? "failure" : "success");
  }

  // --- transitions, all with the lock held ---
  bool move_locked(std::uint64_t& from, std::uint64_t to, transition_reason why, std::uint64_t at_ns) noexcept {
    if (!word_.compare_exchange_strong(from, to, std::memory_order_acq_rel)) return false;
    const state a = state_of(from), b = state_of(to);
    ++transitions_[static_cast<unsigned>(a)][static_cast<unsigned>(b)];
    hub_->push({name_, a, b, why, std::chrono::nanoseconds(static_cast<std::int64_t>(at_ns))});
    return true;
  }
  bool open_locked(std::uint64_t& w, transition_reason why, std::uint64_t at_ns) noexcept {
    const std::uint64_t length = state_of(w) == state::half_open ? next_recovery_ns_.load(std::memory_order_relaxed)
                                                                 : recovery_.draw(openings_ + 1);
    if (!move_locked(w, make_word(state::open, next_generation(w), open_payload(at_ns + length)), why, at_ns))
      return false;
    openings_ = std::min<std::uint32_t>(openings_ + 1, 1000);
    return true;
  }
  void force_locked(state to, transition_reason why) noexcept {
    const std::uint64_t now = now_ns();
    std::uint64_t w = word_.load(std::memory_order_acquire);
    if (to == state::closed || to == state::metrics_only) verdicts_.forget(shards_.total_succeeded());
    for (;;) {
      if (state_of(w) == to && to != state::closed && to != state::open) return;
      const std::uint64_t payload = to == state::open ? open_payload(now + recovery_.draw(openings_ + 1)) : 0;
      if (move_locked(w, make_word(to, next_generation(w), payload), why, now)) break;
    }
    openings_ = to == state::open ? std::min<std::uint32_t>(openings_ + 1, 1000) : 0;
  }

  std::uint64_t half_open_timeout_ns() const noexcept {
    return static_cast<std::uint64_t>(settings_.half_open_timeout.count());
  }

  // --- the shim ---
  [[gnu::noinline]] void obey() noexcept {
    {
      std::lock_guard lock(hub_->mutex);
      const auto order = shim_.take();
      const state s = state_of(word_.load(std::memory_order_relaxed));
      const bool forced = s == state::forced_open || s == state::disabled || s == state::metrics_only;
      if (order && (forced || !order->only_if_forced))
        force_locked(order->to, order->reset ? transition_reason::reset : transition_reason::command);
    }
    drain();
    publish();  // a new generation may just ask for the counters
  }
  std::uint64_t successful_locked() const noexcept {
    return shards_.total_succeeded() + verdicts_.slow_successful() + probe_ok_.load(std::memory_order_relaxed);
  }
  void publish() noexcept {
    if (!shim_.linked()) return;
    std::uint64_t failed = 0, ok = 0;
    {
      std::lock_guard lock(hub_->mutex);
      failed = verdicts_.failed();
      ok = successful_locked();
    }
    shim_.publish(state_of(word_.load(std::memory_order_relaxed)), ok, failed, shards_.total_rejected());
  }
  void late(const char* what) noexcept {
    const std::uint64_t count = late_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (annotating() && (count <= 16 || count % 64 == 0))
      shim_.note("late_result: %s of an earlier state, ignored", what);
  }

  alignas(64) std::atomic<std::uint64_t> word_{make_word(state::closed, 1)};
  bool timed_ = false;  // a successful call needs the clock: slow calls or a time window
  const std::string name_;
  const breaker_settings settings_;
  shim_link shim_;
  const clock_source* const clock_;
  const std::uint64_t slow_ns_;
  const std::shared_ptr<event_hub> hub_;
  std::atomic<std::uint64_t> next_recovery_ns_{0};  // of the open that follows this half-open, drawn when it began
  std::atomic<std::uint64_t> probe_ok_{0}, late_{0}, fallback_failures_{0};
  std::atomic<std::uint32_t> rejection_noted_{0}, fallback_noted_{0};
  // Guarded by the lock.
  alignas(64) verdicts verdicts_;  // but add_success()
  recovery_time recovery_;
  std::uint32_t openings_ = 0;
  std::array<std::array<std::uint64_t, state_count>, state_count> transitions_{};
  shard_counters shards_;
};

}  // namespace detail
}  // namespace chaos
