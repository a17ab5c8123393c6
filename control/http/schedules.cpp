// /v1/schedules: chaos-ctl schedule runs them, and their records in the session folder tell of them. One that is started here
// belongs to chaosd and ends with it.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <sstream>

#include "begin.hpp"
#include "control/schedule/files.hpp"
#include "control/schedule/only_injects.hpp"
#include "control/schedule/preview.hpp"

namespace chaos::http::handlers {

using protocol::command;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr std::size_t rules_told_max = 10'000;  // by one dry run

struct wanted {
  std::string path, text;      // one of them
  schedule::plan plan;
  std::vector<std::string> words;  // of chaos-ctl
  bool dry_run = false;
};

result<std::string> content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (in.is_open()) text << in.rdbuf();
  if (!in.is_open() || in.bad()) return problem{problem_code::failed, "the file can not be read", path, {}};
  return text.str();
}

result<wanted> read_request(const json& body, const launcher& launch) {
  const std::vector<std::string> known{"name", "text", "seed", "count", "dry_run"};
  for (const auto& [key, value] : body.items())
    if (std::ranges::find(known, key) == known.end()) return rules::unknown_word(problem_code::unknown_option, "key", key, known);
  const json name = body.value("name", json()), text = body.value("text", json());
  if (name.is_string() == text.is_string() || !(name.is_string() || name.is_null()) || !(text.is_string() || text.is_null()))
    return problem{problem_code::missing_word, "one of \"name\", of a file of the folder, and \"text\" says which schedule is meant", "", launch.files(file_kind::schedule)};
  wanted w;
  if (name.is_string()) {
    const auto path = launch.file_of(file_kind::schedule, name.get<std::string>());
    if (!path) return path.error();
    const auto content = content_of(*path);
    if (!content) return content.error();
    w.path = *path;
    w.text = *content;
  } else {
    w.text = text.get<std::string>();
  }
  auto plan = name.is_string() ? schedule::parse_plan(w.text, ini::process_environment()) : schedule::plan_that_only_injects(w.text);
  if (!plan) return plan.error();
  w.plan = std::move(*plan);
  const json dry_run = body.value("dry_run", json(false));
  if (!dry_run.is_boolean()) return not_a_flag("dry_run", dry_run);
  w.dry_run = dry_run;
  if (!w.plan.enabled && !w.dry_run) return problem{problem_code::not_allowed, "the schedule " + w.plan.name + " is not enabled", "enabled", {}};
  w.words = {"schedule", "run", name.is_string() ? w.path : "-", "--owner", std::to_string(getpid())};
  for (const char* number : {"seed", "count"}) {
    if (!body.contains(number)) continue;
    if (!body[number].is_number_unsigned() || (*number == 'c' && body[number] == 0))
      return problem{problem_code::bad_value, std::string("\"") + number + "\" is not a whole number" + (*number == 'c' ? " above 0" : ""), body[number].dump().substr(0, 64), {}};
    w.words.insert(w.words.end(), {std::string("--") + number, body[number].dump()});
    if (*number == 'c') w.plan.count = body[number];
    else w.plan.seed = body[number];
  }
  return w;
}

json shown(const schedule::known_schedule& s) {
  json row = s.record.is_object() ? s.record : json::object();
  row["name"] = s.name;
  row["running"] = s.running;
  if (s.running) row["pid"] = s.pid;
  return row;
}

// For the audit log: the change was none of chaosd's own.
bool note(exchange& x, const char* action, const std::string& name, const json& pid) {
  return x.ask(command::schedule, {{"action", action}, {"name", name}, {"pid", pid}}).has_value();
}

}  // namespace

void list_schedules(exchange& x) {
  json all = json::array();
  for (const auto& s : schedule::known_schedules(x.shared.how.session_folder)) all.push_back(shown(s));
  x.give(json{{"schedules", all}, {"files", x.shared.launch->files(file_kind::schedule)}});
}

// As `chaos-ctl schedule run --dry-run --json` tells it. Commands are not told: they may hold what only the machine's owner knows.
void give_plan(exchange& x, const schedule::plan& p) {
  const std::uint64_t count = p.count ? p.count : schedule::preview_count;
  std::size_t rules = 1;
  for (const auto& s : p.scenarios) rules = std::max(rules, s.rules.size());
  if (const std::uint64_t most = rules_told_max / rules; count > most)
    return x.refuse({problem_code::bad_value, "\"count\": a dry run of the schedule " + p.name + " tells at most " + std::to_string(most) + " injections at a time", std::to_string(count), {std::to_string(most)}});
  const std::uint64_t seed = p.seed ? *p.seed : schedule::fresh_seed();
  json all = json::array();
  schedule::preview(p, seed, count, [&](const schedule::injection& in, schedule::nanoseconds after) {
    all.push_back(schedule::json_of(in, after));
    all.back()["command"] = !in.command.empty();
  });
  x.give(json{{"name", p.name}, {"seed", seed}, {"plan", std::move(all)}});
}

// Answered when it has told where it is, or why it does not run.
void start_schedule(exchange& x) {
  const auto body = x.body();
  if (!body) return;
  const auto w = read_request(*body, *x.shared.launch);
  if (!w) return x.refuse(w.error());
  if (w->dry_run) return give_plan(x, w->plan);
  const auto table = x.ask(command::experiment, {{"action", "list"}});
  if (!table) return;
  if (table->result["enabled"] != true || table->result["stopped"] == true)
    return x.refuse({problem_code::not_allowed, "nothing is put in force here: " + std::string(table->result["enabled"] != true ? "enabled = false of chaosd" : "the stop file is there"), w->plan.name, {}});
  const std::string& name = w->plan.name;
  const auto child = x.shared.launch->start(w->words, w->path.empty() ? w->text : "");
  if (!child) return x.refuse(child.error());
  answer_when_begun(x, *child, "schedule", name, [&] {
    for (const auto& s : schedule::known_schedules(x.shared.how.session_folder)) {
      if (s.name != name || !s.record.is_object() || s.record.value("pid", json()) != child->pid) continue;
      if (note(x, "started", name, child->pid)) x.give(shown(s), x.which.success);
      return true;
    }
    return false;
  });
}

void stop_schedule(exchange& x) {
  const std::string wanted = x.segment("schedule");
  std::vector<std::string> running;
  for (const auto& s : schedule::known_schedules(x.shared.how.session_folder)) {
    if (!s.running) continue;
    running.push_back(s.name);
    if (s.name != wanted) continue;
    if (s.pid <= 1 || kill(s.pid, SIGTERM) < 0)
      return x.refuse({problem_code::failed, "the schedule " + wanted + " can not be told to end", wanted, {}});
    if (note(x, "told_to_end", wanted, s.pid)) x.give(json{{"name", wanted}, {"pid", s.pid}}, x.which.success);
    return;
  }
  problem p = rules::unknown_word(problem_code::not_found, "schedule", wanted, running);
  p.message = "no schedule '" + wanted + "' runs" + p.message.substr(std::min(p.message.size(), p.message.find(':')));
  x.refuse(p);
}

}  // namespace chaos::http::handlers
