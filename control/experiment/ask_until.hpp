// Asks over a connection, and cuts it off when time is up. Time-outs of a socket begin anew with every byte: whoever sends one
// now and then would never be done.
#pragma once
#include <algorithm>
#include <chrono>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "chaos/timeout.hpp"

namespace chaos::experiment {

// `cut` is called from another thread, while `ask` may still be under way.
template <class Ask, class Cut>
auto ask_until(std::chrono::steady_clock::time_point deadline, Cut cut, Ask ask) {
  std::optional<std::invoke_result_t<Ask&>> answer;
  const auto left = std::max<std::chrono::nanoseconds>(deadline - std::chrono::steady_clock::now(), std::chrono::nanoseconds(1));
  const auto asked = chaos::with_timeout(left, [&](std::stop_token over) {
    const std::stop_callback at_its_end(over, cut);
    answer.emplace(ask());
  });
  if (!answer) asked.error().raise();  // what it threw
  return std::move(*answer);
}

}  // namespace chaos::experiment
