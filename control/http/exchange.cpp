#include "exchange.hpp"

#include <algorithm>

namespace chaos::http {

using rules::problem;
using rules::problem_code;

namespace {

constexpr auto question_patience = std::chrono::seconds(8);  // of a question to chaosd; a rule may wait for a name

const char* verb(const std::string_view method) { return method == "get" ? "GET" : method == "post" ? "POST" : "DELETE"; }

const route table[] = {
#define ROUTE(method, path, handler, access, query, body, success, summary) \
  {verb(#method), path, #handler, handlers::handler, std::string_view(#access) == "open", query, #body, success, summary},
#include "routes.def"
#undef ROUTE
};

}  // namespace

std::span<const route> routes() { return table; }

std::vector<std::string> segments_of(const std::string& path) {
  std::vector<std::string> names;
  for (std::size_t at = 0; (at = path.find('{', at)) != std::string::npos;) {
    const std::size_t end = path.find('}', at);
    names.push_back(path.substr(at + 1, end - at - 1));
    at = end;
  }
  return names;
}

int status_of(problem_code code) {
  switch (code) {
    case problem_code::not_found: return 404;
    case problem_code::not_allowed: return 403;
    case problem_code::too_many: return 409;
    case problem_code::no_daemon: return 503;
    default: return rules::problem_table[static_cast<unsigned>(code)].exit_status == 2 ? 400 : 500;
  }
}

problem not_a_flag(const char* key, const json& value) {
  return {problem_code::bad_value, "\"" + std::string(key) + "\" is neither true nor false", value.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 64), {"true", "false"}};
}

rules::result<protocol::reply> ask_daemon(const std::string& session_folder, protocol::command what, json arguments, const std::string& remote) {
  thread_local std::optional<protocol::client> link;
  arguments["via"] = remote;
  for (int attempt = 0;; ++attempt) {
    if (!link || link->closed()) {
      auto fresh = protocol::client::connect(session_folder);
      if (!fresh) return fresh.error();
      link.emplace(std::move(*fresh));
    }
    auto reply = link->call(what, arguments, question_patience);
    if (reply || attempt == 1) return reply;
    if (reply.error().code == problem_code::no_daemon) continue;      // that connection is over: once more
    if (reply.error().code == problem_code::failed) link.reset();    // its late answer must not become that of another question
    return reply;
  }
}

std::optional<protocol::reply> exchange::ask(protocol::command what, json arguments) {
  auto reply = ask_daemon(shared.how.session_folder, what, std::move(arguments), remote());
  if (reply) return std::move(*reply);
  refuse(reply.error());
  return std::nullopt;
}

void exchange::give(const json& body, int status) {
  response.status = status;
  response.set_content(body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n", "application/json");
}

void exchange::give(const protocol::reply& reply, int status) {
  json body = reply.result;
  if (!reply.warnings.empty() && body.is_object()) body["warnings"] = reply.warnings;
  give(body, status);
}

void exchange::refuse(const problem& p) { refuse(p, status_of(p.code)); }
void exchange::refuse(const problem& p, int status) { give(json{{"error", protocol::error_json(p)}}, status); }

std::string exchange::segment(const char* name) const {
  const auto names = segments_of(which.path);
  const auto at = std::find(names.begin(), names.end(), name) - names.begin();
  return request.matches[static_cast<std::size_t>(at) + 1].str();
}

std::optional<json> exchange::body() {
  const auto shallow = [](int depth, json::parse_event_t, json&) { return depth < 32; };
  std::string why = "the body is empty: a JSON object is expected";
  if (!request.body.empty()) {
    try {
      json sent = json::parse(request.body, shallow);
      if (sent.is_object()) return sent;
      why = std::string("the body is a JSON ") + sent.type_name() + ", and no object";
    } catch (const json::parse_error& e) {
      why = "the body is not JSON: what stands at byte " + std::to_string(e.byte) + " can not be read";
    }
  }
  refuse({problem_code::bad_request, why, "", {}});
  return std::nullopt;
}

}  // namespace chaos::http
