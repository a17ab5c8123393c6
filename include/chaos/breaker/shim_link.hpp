// A breaker's side of libchaos.so: its slot, the commands of `chaos-ctl breaker`, and notes on the timeline. Without
// the shim every function does nothing; pending() is then two loads that are always equal. Thread-safety: pending(),
// commanded(), publish() and note() from any thread; take() under the breaker's lock. Errors: none.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "../annotate.hpp"
#include "word.hpp"

namespace chaos::detail {

inline constexpr std::uint32_t no_commands = 0;

class shim_link {
 public:
  explicit shim_link(const std::string& name) : name_(name) {
    if (&chaos_breaker_slot != nullptr) slot_ = chaos_breaker_slot(name.c_str());
    if (!slot_ || &chaos_breaker_generation == nullptr || &chaos_breaker_command == nullptr) return;
    if (const volatile std::uint32_t* word = chaos_breaker_generation()) {
      generation_ = word;
      seen_.store(*word - 1, std::memory_order_relaxed);  // a state that was ordered before applies to this breaker too
      std::uint32_t sequence = 0;
      if (!lasts(chaos_breaker_command(slot_, &sequence))) last_sequence_ = sequence;  // a close or reset does not
    }
  }

  bool linked() const noexcept { return slot_ != 0; }
  bool pending() const noexcept { return *generation_ != seen_.load(std::memory_order_relaxed); }

  // A command forced the state, and nobody may be left who could take it back: to be looked at now and then.
  bool commanded() const noexcept { return commanded_.load(std::memory_order_relaxed); }
  bool worth_a_look() noexcept { return (looks_.fetch_add(1, std::memory_order_relaxed) & 63) == 0; }

  // The state that a new command asks for, if there is one. 0 takes back what an earlier command forced; so does the
  // end of the daemon, and what was in force then applies anew when it turns out to live.
  struct order {
    state to;
    bool only_if_forced;
    bool reset;
  };
  std::optional<order> take() noexcept {
    const std::uint32_t generation = *generation_;
    std::uint32_t sequence = last_sequence_;
    const std::uint32_t command = chaos_breaker_command(slot_, &sequence);
    seen_.store(generation, std::memory_order_relaxed);
    if (command == 0 && commanded()) {
      commanded_.store(false, std::memory_order_relaxed);
      last_sequence_ = sequence == last_sequence_ ? 0 : sequence;
      return order{state::closed, true, false};
    }
    if (sequence == last_sequence_) return std::nullopt;
    last_sequence_ = sequence;
    commanded_.store(lasts(command), std::memory_order_relaxed);
    switch (command) {
      case 1: return order{state::forced_open, false, false};
      case 2: return order{state::closed, false, false};
      case 3: return order{state::disabled, false, false};
      case 4: return order{state::closed, false, true};
      case 5: return order{state::metrics_only, false, false};
      default: return std::nullopt;  // none, or of a newer shim
    }
  }

  void publish(state s, std::uint64_t ok, std::uint64_t failed, std::uint64_t rejected) const noexcept {
    if (slot_ && &chaos_breaker_publish != nullptr)
      chaos_breaker_publish(slot_, static_cast<std::uint32_t>(s), ok, failed, rejected);
  }
  template <class... A>
  void note(const char* format, A... a) const noexcept {
    char text[320];
    const int n = std::snprintf(text, sizeof text, "%s: ", name_.c_str());
    std::snprintf(text + n, sizeof text - static_cast<std::size_t>(n), format, a...);
    annotate("breaker", text);
  }
  // The slot is the parent's; the child is a breaker of its own to chaos-ctl.
  void after_fork_in_child() noexcept {
    if (slot_) slot_ = chaos_breaker_slot(name_.c_str());
  }

 private:
  // Open, disabled and metrics_only stay in force; close and reset are done once.
  static constexpr bool lasts(std::uint32_t command) noexcept { return command == 1 || command == 3 || command == 5; }

  const volatile std::uint32_t* generation_ = &no_commands;  // first: read by every call
  std::atomic<std::uint32_t> seen_{no_commands};
  std::uint32_t slot_ = 0, last_sequence_ = 0;
  std::atomic<bool> commanded_{false};
  std::atomic<std::uint32_t> looks_{0};
  const std::string& name_;
};

}  // namespace chaos::detail
