// Names → addresses, without ever blocking the loop: getaddrinfo runs in helper threads, which may hang for as long as
// a broken resolver lets them, and whoever waits has a deadline of its own.
#pragma once
#include <netdb.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control/rules/targets.hpp"
#include "loop.hpp"

namespace chaos::daemon {

// Each address once, in an order that is the same however the answer was rotated, also where it is cut.
std::vector<rules::ip_address> addresses_of(const addrinfo* answer, std::size_t most);

struct resolver_shared;  // what the helper threads hold on to, even when the resolver is gone

class resolver {
 public:
  static constexpr unsigned thread_max = 4;
  static constexpr std::size_t address_max = 64;  // of one name: more than a rule has room for, so that it can say so
  using on_addresses = std::function<void(const std::string& name, std::vector<rules::ip_address>)>;  // empty: unknown

  resolver(loop& l, on_addresses found);
  ~resolver();
  resolver(const resolver&) = delete;
  resolver& operator=(const resolver&) = delete;

  void ask(const std::string& name);  // asking again while an answer is under way is one question
  bool pending(const std::string& name) const;

 private:
  void collect();

  loop& loop_;
  on_addresses found_;
  std::shared_ptr<resolver_shared> shared_;
  int event_ = -1;
};

}  // namespace chaos::daemon
