// Takes events out of the ring, each at most once, and knows exactly how many it missed.
//
// Between two drains the ring may have been overrun (the oldest are lost), a writer may be in the middle of its slot
// (waited for, up to `patience_ns`), or have died there (lost). A hostile head or sequence costs events, never more.
#pragma once
#include <cstdint>
#include <functional>

#include "report_reader.hpp"

namespace chaos::daemon {

class drain {
 public:
  static constexpr std::uint64_t patience_ns = 200'000'000;
  using taker = std::function<void(std::uint64_t ticket, const abi::event&)>;

  explicit drain(const report_reader& report, std::uint64_t first_ticket = 0) : report_(report), next_(first_ticket) {}

  void run(std::uint64_t now_ns, const taker& take);

  std::uint64_t next() const { return next_; }
  std::uint64_t taken() const { return taken_; }
  std::uint64_t lost() const { return lost_; }

 private:
  const report_reader& report_;
  std::uint64_t next_;
  std::uint64_t taken_ = 0, lost_ = 0;
  std::uint64_t stuck_since_ns_ = 0;  // the writer of ticket next_ was first found unfinished then
};

}  // namespace chaos::daemon
