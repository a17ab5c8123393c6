// Which injections a breaker opened after: those of its process since its previous transition, as far as they can have
// failed a call. Bounded in processes, breakers and injections; what targets invent costs no more than that.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "chaos/abi/event.hpp"

namespace chaos::daemon {

struct cause {
  std::uint64_t first, last;  // sequence numbers
  std::size_t count;          // injections of this process among them
};

class causes {
 public:
  static constexpr std::size_t injections_max = 64;  // remembered for each process
  static constexpr std::size_t processes_max = 256, breakers_max = 64;
  static constexpr std::size_t untold_max = 16;      // when the breaker does not say how many failures opened it

  // Every event, in the order of the ring. Something for the transition of a breaker to `open`, after injections.
  std::optional<cause> take(std::uint64_t seq, const abi::event& e);

 private:
  struct process {
    std::deque<std::uint64_t> injections;
    std::map<std::string, std::uint64_t> transitions;  // the latest, by breaker
    std::uint64_t seen = 0;
  };
  process& of(std::int32_t pid, std::uint64_t seq);
  std::map<std::int32_t, process> processes_;
};

}  // namespace chaos::daemon
