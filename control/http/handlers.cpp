// What the endpoints do: each asks chaosd, as chaos-ctl would.
#include <algorithm>
#include <charconv>

#include "begin.hpp"
#include "compat.hpp"
#include "control/experiment/report.hpp"

namespace chaos::http::handlers {

using protocol::command;
using rules::problem;
using rules::problem_code;

namespace {

void change_rule(exchange& x, command what) {
  if (const auto reply = x.ask(what, {{"words", {x.segment("rule")}}})) x.give(*reply);
}

void change_experiment(exchange& x, const char* action) {
  if (const auto reply = x.ask(command::experiment, {{"action", action}, {"experiment", x.segment("experiment")}})) x.give(*reply);
}

void give(exchange& x, const compat::outcome& o) {
  x.out.delay = o.delay;
  x.give(o.body, o.status);
}

}  // namespace

void health(exchange& x) {
  const auto reply = x.ask(command::status);
  if (!reply) return;
  const std::uint64_t lease_ms = reply->result.value("lease_ms", std::uint64_t{0});
  x.give(json{{"status", lease_ms > 0 ? "ok" : "lease lapsed"}, {"lease_ms", lease_ms}}, lease_ms > 0 ? 200 : 503);
}

void openapi(exchange& x) { x.give(openapi_document(x.shared.how)); }

void status(exchange& x) {
  if (const auto reply = x.ask(command::status)) x.give(*reply);
}

// --- rules

void list_rules(exchange& x) {
  if (const auto reply = x.ask(command::list)) x.give(*reply);
}

void add_rules(exchange& x) {
  const auto body = x.body();
  if (!body) return;
  json wanted = json::object();
  for (const auto& [key, value] : body->items()) {
    if (key != "words" && key != "rule" && key != "ini")
      return x.refuse(rules::unknown_word(problem_code::unknown_option, "key", key, {"words", "rule", "ini"}));
    wanted[key] = value;
  }
  if (wanted.size() != 1) return x.refuse({problem_code::bad_request, std::string(wanted.empty() ? "one" : "only one") + " of \"words\", \"rule\" and \"ini\" says what is wanted", "", {"words", "rule", "ini"}});
  const command what = wanted.contains("ini") ? command::apply : command::set;
  if (const auto reply = x.ask(what, std::move(wanted))) x.give(*reply, x.which.success);
}

void one_rule(exchange& x) {
  const auto reply = x.ask(command::list);
  if (!reply) return;
  const std::string wanted = x.segment("rule");
  const json* found = nullptr;
  for (const json& r : reply->result["rules"])
    if (r["id"].dump() == wanted || (r["name"] == wanted && (!found || r["state"] != "ended" || (*found)["state"] == "ended"))) found = &r;
  if (found) x.give(*found);
  else x.refuse({problem_code::not_found, "there is no rule '" + wanted + "'", wanted, {}});
}

void remove_rule(exchange& x) { change_rule(x, command::rm); }
void pause_rule(exchange& x) { change_rule(x, command::pause); }
void resume_rule(exchange& x) { change_rule(x, command::resume); }

void stop_everything(exchange& x) {
  if (const auto reply = x.ask(command::stop)) x.give(*reply);
}

// --- experiments

void list_experiments(exchange& x) {
  auto reply = x.ask(command::experiment, {{"action", "list"}});
  if (!reply) return;
  reply->result["files"] = x.shared.launch->files(file_kind::experiment);
  x.give(*reply);
}

void one_experiment(exchange& x) {
  const auto reply = x.ask(command::experiment, {{"action", "status"}, {"experiment", x.segment("experiment")}});
  if (reply) x.give(reply->result["experiments"][0]);
}

void experiment_report(exchange& x) {
  const std::string wanted = x.request.has_param("format") ? x.request.get_param_value("format") : "json";
  const auto forms = experiment::report_forms();
  const auto form = std::ranges::find(forms, wanted, &experiment::report_form::name);
  if (form == forms.end()) {
    std::vector<std::string> names;
    for (const auto& f : forms) names.emplace_back(f.name);
    return x.refuse(rules::unknown_word(problem_code::bad_value, "format", wanted.substr(0, 64), std::move(names)));
  }
  const auto reply = x.ask(command::experiment, {{"action", "report"}, {"experiment", x.segment("experiment")}});
  if (!reply) return;
  const auto document = experiment::checked_report(reply->result["report"]);
  if (document) x.response.set_content(form->text(*document), form->type);
  else x.refuse(document.error(), 500);
}

void stop_experiment(exchange& x) { change_experiment(x, "stop"); }
void pause_experiment(exchange& x) { change_experiment(x, "pause"); }
void resume_experiment(exchange& x) { change_experiment(x, "resume"); }

// Answered when the experiment is in chaosd's table, or its runner has said why it does not run.
void start_experiment(exchange& x) {
  const auto body = x.body();
  if (!body) return;
  for (const auto& [key, value] : body->items())
    if (key != "name" && key != "dry_run") return x.refuse(rules::unknown_word(problem_code::unknown_option, "key", key, {"name", "dry_run"}));
  const json name = body->value("name", json()), dry_run = body->value("dry_run", json(false));
  if (!name.is_string()) return x.refuse({problem_code::missing_word, "\"name\" does not say which file of the folder", "", x.shared.launch->files(file_kind::experiment)});
  if (!dry_run.is_boolean()) return x.refuse(not_a_flag("dry_run", dry_run));
  const auto file = x.shared.launch->file_of(file_kind::experiment, name.get<std::string>());
  if (!file) return x.refuse(file.error());
  std::vector<std::string> words{"experiment", "run", *file};
  if (dry_run == true) words.push_back("--dry-run");
  const auto child = x.shared.launch->start(words);
  if (!child) return x.refuse(child.error());
  answer_when_begun(x, *child, "experiment", name.get<std::string>(), [&] {
    const auto reply = x.ask(command::experiment, {{"action", "list"}});
    if (!reply) return true;
    for (const json& e : reply->result["experiments"]) {
      if (e["pid"] != child->pid) continue;
      if (const auto noted = x.ask(command::experiment, {{"action", "started"}, {"name", name}, {"pid", child->pid}})) x.give(e, x.which.success);
      return true;
    }
    return false;
  });
}

// --- processes, breakers, timeline

void processes(exchange& x) {
  if (const auto reply = x.ask(command::ps)) x.give(*reply);
}

void list_breakers(exchange& x) {
  if (const auto reply = x.ask(command::breaker, {{"action", "list"}})) x.give(*reply);
}

void order_breaker(exchange& x) {
  if (x.segment("action") == "list") return x.refuse({problem_code::unexpected_word, "list is no order to a breaker", "list", {}});
  if (const auto reply = x.ask(command::breaker, {{"action", x.segment("action")}, {"name", x.segment("breaker")}})) x.give(*reply);
}

void timeline(exchange& x) {
  json arguments = json::object();
  if (x.request.has_param("last")) {
    const std::string text = x.request.get_param_value("last");
    std::uint64_t last = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), last);
    if (error != std::errc() || end != text.data() + text.size()) return x.refuse({problem_code::bad_value, "last: '" + text.substr(0, 64) + "' is not a number of events", text.substr(0, 64), {"100"}});
    arguments["last"] = last;
  }
  const std::string stream = x.request.get_param_value("stream");
  if (!stream.empty() && stream != "true" && stream != "false") return x.refuse({problem_code::bad_value, "stream: '" + stream.substr(0, 64) + "' is neither true nor false", stream.substr(0, 64), {"true", "false"}});
  const bool wanted = stream == "true" || x.request.get_header_value("Accept") == "text/event-stream";
  if (!wanted || x.request.method == "HEAD") {
    if (const auto reply = x.ask(command::events, std::move(arguments))) x.give(*reply);
    return;
  }
  auto link = protocol::client::connect(x.shared.how.session_folder);
  if (!link) return x.refuse(link.error());
  if (const auto begun = link->call(command::watch, std::move(arguments)); !begun) return x.refuse(begun.error());
  x.out.stream = std::make_unique<protocol::client>(std::move(*link));
  x.response.set_header("Cache-Control", "no-store");
  // Without a length: what follows is written by the reception.
  x.response.set_content_provider("text/event-stream", [](std::size_t, httplib::DataSink& sink) {
    constexpr std::string_view opening = "retry: 1000\n\n";
    sink.write(opening.data(), opening.size());
    sink.done();
    return true;
  });
}

// --- the five

void compat_list(exchange& x) { give(x, x.shared.five->list()); }
void compat_test(exchange& x) { give(x, x.shared.five->test()); }

void compat_start(exchange& x) {
  if (const auto body = x.body()) give(x, x.shared.five->start(*body, x.remote()));
}

void compat_stop(exchange& x) {
  if (const auto body = x.body()) give(x, x.shared.five->stop(*body));
}

void compat_status(exchange& x) {
  const bool named = x.request.has_param("experiment_name");
  give(x, x.shared.five->status(named ? std::optional(x.request.get_param_value("experiment_name")) : std::nullopt));
}

}  // namespace chaos::http::handlers
