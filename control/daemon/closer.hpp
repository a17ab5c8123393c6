// Connections that targets closed, or shut down, under slow_close: held here until their time has come or the rule is gone.
#pragma once
#include <cstdint>
#include <functional>
#include <list>
#include <set>
#include <string>

#include "chaos/abi/closing.hpp"
#include "loop.hpp"

namespace chaos::daemon {

class closer {
 public:
  closer(loop& l, std::string path);
  ~closer();
  closer(const closer&) = delete;
  closer& operator=(const closer&) = delete;

  void in_force(const std::set<std::uint32_t>& rules);  // what other rules held ends now

 private:
  static constexpr std::size_t held_max = 4096;  // more are closed at once
  struct held {
    abi::closing_order order;
    int fd;
  };
  void take();
  void end(const held& h);
  void end_due();
  void plan();

  loop& loop_;
  std::string path_;
  int socket_ = -1;
  std::set<std::uint32_t> rules_;
  std::list<held> held_;
  timer timer_;
};

}  // namespace chaos::daemon
