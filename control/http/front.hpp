// chaosd over HTTP: a client of its own control socket, so that no thread of it ever touches the daemon's state. cpp-httplib
// accepts, reception.hpp keeps the clients, site.hpp answers.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "control/rules/values.hpp"

namespace chaos::http {

struct front_settings {
  std::string address;             // 127.0.0.1:8080, [::1]:8080, 0.0.0.0:8080; port 0: any
  std::string token;
  std::string experiments_folder, schedules_folder;  // "": none of them may be started by its name
  double requests_per_second = 500;
  std::optional<rules::duration_range> default_latency;  // of latency_injection
  std::optional<double> default_error_rate;              // of error_injection
  bool metrics = true;
  std::string session_folder, base, session;
};

struct listening {
  std::string url;      // http://127.0.0.1:8080
  std::string warning;  // "" or what people should know
};

// Is this an address that may be listened at, and is a token needed there?
struct parsed_address {
  std::string host;
  int port = 0;
  bool loopback = false;
};
rules::result<parsed_address> parse_address(const std::string& text);

// Binds, and serves from then on, on threads of its own, for the life of the process. Call it after the last fork.
rules::result<listening> start_front(const front_settings& how);

}  // namespace chaos::http
