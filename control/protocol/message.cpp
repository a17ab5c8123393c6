#include "message.hpp"

namespace chaos::protocol {

using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const auto& row : command_table) names.emplace_back(row.name);
  return names;
}

problem bad_request(std::string message) { return {problem_code::bad_request, std::move(message), "", {}}; }

json parse_object(std::string_view line) {
  // deeper values are dropped while they are read: a megabyte of brackets costs nothing
  const auto shallow = [](int depth, json::parse_event_t, json&) { return depth < 32; };
  json value = json::parse(line.begin(), line.end(), shallow, false);
  return value.is_object() ? value : json();
}

}  // namespace

bool changes_something(const request& r) {
  const changes_what changes = command_table[static_cast<unsigned>(r.what)].changes;
  if (changes != changes_what::by_action) return changes == changes_what::always;
  const json action = r.body.value("action", json());
#define EXPERIMENT_ACTION(name, changes, arguments, meaning) \
  if (r.what == command::experiment && action == #name) return changes != 0;
#include "experiment_actions.def"
#undef EXPERIMENT_ACTION
  return action != "list";
}

json request_json(command what, json arguments) {
  arguments["v"] = version;
  arguments["command"] = command_table[static_cast<unsigned>(what)].name;
  return arguments;
}

result<request> parse_request(std::string_view line) {
  json body = parse_object(line);
  if (!body.is_object()) return bad_request("the request is not a JSON object on one line");
  const auto v = body.find("v");
  if (v == body.end() || !v->is_number_integer())
    return bad_request("the request has no version: \"v\":" + std::to_string(version) + " is expected");
  if (*v != version)
    return problem{problem_code::version_mismatch,
                   "the client speaks version " + v->dump() + " of the protocol, this chaosd speaks version " +
                       std::to_string(version) + ": use the chaos-ctl that came with it",
                   v->dump(),
                   {std::to_string(version)}};
  const auto name = body.find("command");
  if (name == body.end() || !name->is_string()) return bad_request("the request names no \"command\"");
  for (unsigned i = 0; i < static_cast<unsigned>(command::count); ++i)
    if (*name == command_table[i].name) return request{static_cast<command>(i), std::move(body)};
  return rules::unknown_word(problem_code::unknown_command, "command", name->get<std::string>(), command_names());
}

json ok_reply(json value, const std::vector<std::string>& warnings) {
  json reply{{"ok", true}, {"result", std::move(value)}};
  if (!warnings.empty()) reply["warnings"] = warnings;
  return reply;
}

json error_json(const problem& p) {
  return {{"code", name_of(p.code)}, {"message", p.message}, {"word", p.word}, {"expected", p.expected}};
}

json error_reply(const problem& p) { return {{"ok", false}, {"error", error_json(p)}}; }

result<reply> parse_reply(std::string_view line) {
  json body = parse_object(line);
  if (!body.is_object() || !body.contains("ok") || !body["ok"].is_boolean())
    return problem{problem_code::failed, "chaosd answered something that is not a reply: " + std::string(line.substr(0, 80)), "", {}};
  if (body["ok"] == true) {
    reply r{body.value("result", json::object()), {}};
    for (const json& w : body.value("warnings", json::array()))
      if (w.is_string()) r.warnings.push_back(w);
    return r;
  }
  const json error = body.value("error", json::object());
  problem p{problem_code::failed, "", "", {}};
  if (error.is_object()) {
    const json code = error.value("code", json());
    for (unsigned i = 0; i < static_cast<unsigned>(problem_code::count); ++i)
      if (code == rules::problem_table[i].name) p.code = static_cast<problem_code>(i);
    if (const json m = error.value("message", json()); m.is_string()) p.message = m;
    if (const json w = error.value("word", json()); w.is_string()) p.word = w;
    for (const json& e : error.value("expected", json::array()))
      if (e.is_string()) p.expected.push_back(e);
  }
  return p;
}

std::string to_line(const json& message) { return message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"; }

}  // namespace chaos::protocol
