// What goes over the control socket: one JSON object a line, both ways. docs/protocol.md is its description.
//
//   {"v":1,"command":"set","words":["latency","redis:6379","200ms"]}
//   {"ok":true,"result":{…},"warnings":["…"]}
//   {"ok":false,"error":{"code":"bad_value","message":"…","word":"200","expected":["200ms","1.5s"]}}
#pragma once
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/rules/problem.hpp"

namespace chaos::protocol {

using json = nlohmann::json;

inline constexpr int version = 1;
inline constexpr std::size_t line_max_bytes = 1024 * 1024;
inline constexpr std::size_t client_max = 64;

enum class command {
#define COMMAND(name, changes, arguments, meaning) name,
#include "commands.def"
#undef COMMAND
  count
};

enum class changes_what { never, always, by_action };

struct command_info {
  const char* name;
  changes_what changes;
  const char* arguments;
  const char* meaning;
};
inline constexpr command_info command_table[] = {
#define COMMAND(name, changes, arguments, meaning) {#name, changes_what::changes, arguments, meaning},
#include "commands.def"
#undef COMMAND
};

struct request {
  command what;
  json body;  // the whole object
};

bool changes_something(const request& r);

json request_json(command what, json arguments = json::object());  // adds v and command
rules::result<request> parse_request(std::string_view line);

json ok_reply(json result, const std::vector<std::string>& warnings = {});
json error_reply(const rules::problem& p);
json error_json(const rules::problem& p);  // {code, message, word, expected}

struct reply {
  json result;
  std::vector<std::string> warnings;
};
rules::result<reply> parse_reply(std::string_view line);  // an error reply becomes its problem

std::string to_line(const json& message);  // one line with its newline; bytes that are not UTF-8 are replaced

}  // namespace chaos::protocol
