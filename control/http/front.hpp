// chaosd over HTTP: a client of its own control socket, so that no thread of it ever touches the daemon's state. cpp-httplib
// accepts, parses and answers; reception.hpp keeps the clients; routes.def says what there is.
#pragma once
#include <memory>
#include <string>

#include "control/rules/problem.hpp"

namespace chaos::http {

struct front_settings {
  std::string address;             // 127.0.0.1:8080, [::1]:8080, 0.0.0.0:8080; port 0: any
  std::string token;
  std::string experiments_folder;  // "": none may be started
  double requests_per_second = 500;
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
