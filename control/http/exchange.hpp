// One request on its way through a handler: what was asked, what chaosd says to that, and what goes back.
#pragma once
#include <httplib.h>

#include <memory>
#include <optional>
#include <span>
#include <nlohmann/json.hpp>
#include <string>

#include "front.hpp"
#include "reception.hpp"

namespace chaos::http {

using protocol::json;

class compat;
class launcher;

class exchange;

struct route {
  const char* method;  // "GET"
  const char* path;
  const char* handler;
  void (*act)(exchange&);
  bool open;           // no token is needed
  const char* query;
  const char* body;
  int success;
  const char* summary;
};
std::span<const route> routes();

struct service {  // what the handlers share, for the life of the process
  front_settings how;
  launcher* launch = nullptr;
  compat* five = nullptr;
};

class exchange {
 public:
  exchange(service& shared, const route& r, const httplib::Request& request, httplib::Response& response, answer& out)
      : shared(shared), which(r), request(request), response(response), out(out) {}

  service& shared;
  const route& which;
  const httplib::Request& request;
  httplib::Response& response;
  answer& out;

  // Asks chaosd. Its error, if it has one, becomes the answer, and nothing is returned.
  std::optional<protocol::reply> ask(protocol::command what, json arguments = json::object());
  void give(const json& body, int status = 200);
  void give(const protocol::reply& reply, int status = 200);  // its result, with the warnings if there are any
  void refuse(const rules::problem& p);
  void refuse(const rules::problem& p, int status);

  std::string segment(const char* name) const;       // of the path
  std::optional<json> body();                         // the JSON object that was sent; else a refusal was given
  std::string remote() const { return request.remote_addr; }
};

int status_of(rules::problem_code code);
rules::problem not_a_flag(const char* key, const json& value);

// The connection of this thread to the control socket.
rules::result<protocol::reply> ask_daemon(const std::string& session_folder, protocol::command what, json arguments, const std::string& remote);

// One for each row of routes.def.
#define ROUTE(method, path, handler, access, query, body, success, summary) void handler(exchange& x);
namespace handlers {
#include "routes.def"
}
#undef ROUTE

json openapi_document(const front_settings& how);
std::vector<std::string> segments_of(const std::string& path);  // "/v1/rules/{rule}" → {"rule"}

}  // namespace chaos::http
