// /v1/openapi.json, derived from routes.def, effects.def, options.def and compat.def.
#include "control/rules/options.hpp"
#include "compat.hpp"
#include "exchange.hpp"

namespace chaos::http {

namespace {

json object_of(json properties, const std::vector<std::string>& required) {
  json out{{"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  if (!required.empty()) out["required"] = required;
  return out;
}

json rule_schema() {
  json properties{{"kind", {{"type", "string"}, {"enum", rules::kind_names()}}},
                  {"target", {{"type", "string"}}},
                  {"value", {{"type", "string"}}}};
  for (const auto& o : rules::option_table) {
    json type{{"description", o.help}};
    if (o.form == rules::option_form::flag) type["type"] = "boolean";
    else type["oneOf"] = {{{"type", "string"}}, {{"type", "number"}}};
    properties[o.name] = std::move(type);
  }
  return object_of(std::move(properties), {"kind", "target"});
}

json compat_start_schema(const front_settings& how) {
  json names = json::array();
  json properties = json::object();
#define COMPAT(name, parameter, otherwise, low, high, description)                                                                  \
  names.push_back(#name);                                                                                                             \
  properties[#parameter] = {{"type", "number"}, {"default", default_of(#name, otherwise, how).amount}, {"minimum", low}, {"maximum", high}, {"description", "of " #name}};
#include "compat.def"
#undef COMPAT
  properties["experiment_name"] = {{"type", "string"}, {"enum", std::move(names)}};
  properties["duration_seconds"] = {{"type", "number"}, {"default", 30}};
  properties["target"] = {{"type", "string"}, {"description", "what programs under the shim are to suffer it at, as in a rule"}};
  properties["process"] = {{"type", "string"}, {"description", "which of them"}};
  return object_of(std::move(properties), {"experiment_name"});
}

json schedule_request(const char* key, const char* what) {
  return object_of({{key, {{"type", "string"}, {"description", what}}}, {"seed", {{"type", "integer"}, {"minimum", 0}}}, {"count", {{"type", "integer"}, {"minimum", 1}, {"description", "end after so many injections"}}},
                    {"dry_run", {{"type", "boolean"}, {"description", "start nothing; answer with status 200 what this seed would do, `count` injections of it"}}}}, {key});
}

json schemas(const front_settings& how) {
  return {{"rule_request", {{"oneOf", {object_of({{"words", {{"type", "array"}, {"items", {{"type", "string"}}}, {"description", "as after `chaos-ctl set`"}}}}, {"words"}),
                                       object_of({{"rule", {{"$ref", "#/components/schemas/rule"}}}}, {"rule"}),
                                       object_of({{"ini", {{"type", "string"}, {"description", "every [fault NAME], all or none"}}}}, {"ini"})}}}},
          {"rule", rule_schema()},
          {"experiment_request", object_of({{"name", {{"type", "string"}}}, {"dry_run", {{"type", "boolean"}}}}, {"name"})},
          {"schedule_request", {{"oneOf", {schedule_request("name", "of a file of the schedules folder, without its ending"), schedule_request("text", "docs/schedule.md; without commands, files, hooks and variables")}}}},
          {"compat_start_request", compat_start_schema(how)},
          {"compat_stop_request", object_of({{"experiment_name", {{"type", "string"}}}}, {"experiment_name"})},
          {"error", object_of({{"error", object_of({{"code", {{"type", "string"}}}, {"message", {{"type", "string"}}}, {"word", {{"type", "string"}}},
                                                    {"expected", {{"type", "array"}, {"items", {{"type", "string"}}}}}}, {"code", "message", "word", "expected"})}}, {"error"})}};
}

json parameters_of(const route& r) {
  json out = json::array();
  for (const std::string& name : segments_of(r.path))
    out.push_back({{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
  std::string_view rest = r.query;
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    const auto colon = one.find(':');
    out.push_back({{"name", one.substr(0, colon)}, {"in", "query"}, {"schema", {{"type", one.substr(colon + 1)}}}});
  }
  return out;
}

}  // namespace

json openapi_document(const front_settings& how) {
  json paths = json::object();
  const json error{{"description", "refused: what was wrong, and what would be right"}, {"content", {{"application/json", {{"schema", {{"$ref", "#/components/schemas/error"}}}}}}}};
  for (const route& r : routes()) {
    std::string method = r.method;
    for (char& c : method) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    json operation{{"operationId", r.handler}, {"summary", r.summary}, {"parameters", parameters_of(r)},
                   {"responses", {{std::to_string(r.success), {{"description", r.summary}}}, {"default", error}}}};
    if (r.open) operation["security"] = json::array();
    if (std::string_view(r.body) != "no_body")
      operation["requestBody"] = {{"required", true}, {"content", {{"application/json", {{"schema", {{"$ref", std::string("#/components/schemas/") + r.body}}}}}}}};
    paths[r.path][method] = std::move(operation);
  }
  return {{"openapi", "3.0.3"},
          {"info", {{"title", "chaosd"}, {"version", CHAOS_VERSION}, {"description", "Faults for programs under libchaos: rules, experiments, what happens. docs/http.md"}}},
          {"security", {{{"token", json::array()}}}},
          {"paths", std::move(paths)},
          {"components", {{"schemas", schemas(how)}, {"securitySchemes", {{"token", {{"type", "http"}, {"scheme", "bearer"}}}}}}}};
}

}  // namespace chaos::http
