// What is asked about experiments, and what chaosd itself does with them: their time, their stop file, their lost runners.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "control/rules/joined.hpp"
#include "control/rules/values.hpp"
#include "daemon.hpp"

namespace chaos::daemon {

using protocol::json;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

using rules::joined;

constexpr std::size_t figures_max_bytes = 4096;

std::string text_in(const json& body, const char* key) {
  const json text = body.value(key, json());
  return text.is_string() ? text.get<std::string>() : "";
}

std::int64_t unix_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace

const std::map<std::string, void (daemon::*)(client_id, const protocol::json&)>& daemon::experiment_actions() {
  static const std::map<std::string, void (daemon::*)(client_id, const json&)> actions{
#define EXPERIMENT_ACTION(name, changes, arguments, meaning) {#name, &daemon::experiment_##name},
#include "control/protocol/experiment_actions.def"
#undef EXPERIMENT_ACTION
  };
  return actions;
}

void daemon::experiment_asked(client_id who, const json& body) {
  const std::string action = text_in(body, "action");
  const auto known = experiment_actions().find(action);
  if (known != experiment_actions().end()) return (this->*known->second)(who, body);
  std::vector<std::string> names;
  for (const auto& [name, act] : experiment_actions()) names.push_back(name);
  if (action.empty()) return answer(who, problem{problem_code::missing_word, "\"action\" does not say what is wanted of experiments", "", names});
  answer(who, rules::unknown_word(problem_code::unexpected_word, "action", action, names));
}

// --- by a runner, on the connection that it keeps open

void daemon::experiment_begin(client_id who, const json& body) {
  const server::peer peer = server_.peer_of(who);
  experiment e;
  e.name = text_in(body, "name");
  e.title = text_in(body, "title");
  e.hypothesis = text_in(body, "hypothesis");
  e.by = asker(who, body);
  e.runner = who;
  e.dry_run = how_.dry_run || body.value("dry_run", json()) == true;
  e.began_ns = monotonic_ns();
  e.began_unix_ms = unix_ms();
  e.deadline_ns = e.began_ns + how_.experiment_timeout_ns;
  if (e.name.empty()) return answer(who, problem{problem_code::missing_word, "an experiment needs a \"name\"", "", {}});
  if (const auto good = safety_.may_begin(); !good) return answer(who, good.error());
  const json longest = body.value("longest_ms", json());
  if (longest.is_number_unsigned() && longest.get<std::uint64_t>() > how_.experiment_timeout_ns / 1'000'000)
    return answer(who, problem{problem_code::not_allowed, "this experiment may take " + rules::format_duration(longest.get<std::uint64_t>() * 1'000'000) + ", and " +
                                   rules::format_duration(how_.experiment_timeout_ns) + " is the most here: shorten its phases, or raise experiment_timeout of chaosd",
                               longest.dump(), {}});
  // chaosd's own front end runs several, each with a rule of its name
  if (const experiment* const other = peer.pid == getpid() ? experiments_.of_pid(peer.pid, e.name) : experiments_.of_pid(peer.pid))
    return answer(who, problem{problem_code::bad_request, "the process " + std::to_string(peer.pid) + " runs the experiment " + other->name + " already", e.name, {}});
  const auto begun = experiments_.begin(std::move(e));
  if (!begun) return answer(who, begun.error());
  experiment* const there = *begun;
  tell_of(*there, "begins");
  keep_experiments();
  experiment_timer_.at(experiments_.next_deadline_ns());
  answer(who, json{{"id", there->id}, {"dry_run", there->dry_run}, {"timeout_ms", how_.experiment_timeout_ns / 1'000'000}});
}

void daemon::experiment_progress(client_id who, const json& body) {
  experiment* const e = experiments_.of_runner(who);
  if (!e) return answer(who, problem{problem_code::bad_request, "no experiment was begun on this connection", "", {"begin"}});
  const std::string phase = text_in(body, "phase").substr(0, 64);
  const bool next_phase = !phase.empty() && phase != e->phase;
  if (next_phase) {
    e->phase = phase;
    tell_of(*e, phase);
  }
  if (const json figures = body.value("figures", json()); figures.is_object() && figures.dump(-1, ' ', false, json::error_handler_t::replace).size() <= figures_max_bytes) e->figures = figures;
  if (next_phase) keep_experiments();
  answer(who, json{{"stop", e->stop_reason.empty() ? json() : json(e->stop_reason)}, {"paused", e->state == experiment_state::paused}});
}

void daemon::experiment_hand_in(client_id who, const json& body) {
  experiment* const e = experiments_.of_runner(who);
  if (!e) return answer(who, problem{problem_code::bad_request, "no experiment was begun on this connection", "", {"begin"}});
  const json part = body.value("part", json());
  if (!part.is_string()) return answer(who, problem{problem_code::missing_word, "\"part\" is not the text of a report, or a piece of it", "", {}});
  const std::size_t size = e->report_text.size() + part.get_ref<const std::string&>().size();
  if (size > experiment_reports::bytes_max) {
    e->report_text = std::string();
    e->no_report = "it is larger than " + std::to_string(experiment_reports::bytes_max) + " bytes";
    return answer(who, problem{problem_code::too_many, "the report of the experiment " + e->name + " is not kept: " + e->no_report, e->name, {}});
  }
  e->report_text += part.get_ref<const std::string&>();
  answer(who, json{{"bytes", size}});
}

void daemon::experiment_end(client_id who, const json& body) {
  experiment* const e = experiments_.of_runner(who);
  if (!e) return answer(who, problem{problem_code::bad_request, "no experiment was begun on this connection", "", {"begin"}});
  const std::string verdict = text_in(body, "verdict");
  if (verdict.empty()) return answer(who, problem{problem_code::missing_word, "the end of an experiment needs its \"verdict\"", "", {}});
  const std::uint64_t id = e->id;
  keep_report(*e);
  conclude(*e, verdict, text_in(body, "reason"));
  answer(who, json{{"id", id}});
}

// --- by chaosd's front end: whom the process `pid`, which is about to run an experiment, was started for
void daemon::experiment_started(client_id who, const json& body) {
  const actor by = asker(who, body);
  const json pid = body.value("pid", json());
  if (by.pid != getpid() || !pid.is_number_integer()) return answer(who, problem{problem_code::not_allowed, "only chaosd itself says what it started", "", {}});
  if (experiment* const e = experiments_.of_pid(pid.get<std::int32_t>())) e->by.remote = by.remote;
  keep_experiments();
  answer(who, json::object());
}

// --- by anybody

void daemon::experiment_list(client_id who, const json&) { answer(who, list_experiments()); }

void daemon::experiment_status(client_id who, const json& body) {
  const auto chosen = chosen_experiments(body);
  if (!chosen) return answer(who, chosen.error());
  json out = json::array();
  for (const experiment* e : *chosen) {
    out.push_back(experiments::describe(*e, monotonic_ns()));
    json& rules = out.back()["rules"] = json::array();
    for (const std::uint32_t id : e->live() ? rules_of(*e) : std::vector<std::uint32_t>{}) rules.push_back(rules_.describe(rules_.live().at(id)));
  }
  answer(who, json{{"experiments", out}});
}

void daemon::experiment_report(client_id who, const json& body) {
  if (body.value("experiment", json()).is_null()) return answer(who, problem{problem_code::missing_word, "\"experiment\" does not say whose report is wanted", "", {}});
  const auto chosen = chosen_experiments(body);
  if (!chosen) return answer(who, chosen.error());
  experiment& e = *chosen->front();
  const std::string of = "the experiment " + e.name + " (" + std::to_string(e.id) + ")";
  if (e.live()) return answer(who, problem{problem_code::not_found, of + " has not ended: its report comes with its end", e.name, {}});
  std::string document;
  if (e.report) {
    e.no_report = reports_.load(e.id, document);
    e.report = e.no_report.empty();
    if (!e.report) spdlog::error("{}", e.no_report);
  }
  if (!e.report) return answer(who, problem{problem_code::not_found, "no report of " + of + " is kept" + (e.no_report.empty() ? "" : ": " + e.no_report), e.name, {}});
  const std::string name = json(e.name).dump(-1, ' ', false, json::error_handler_t::replace);
  server_.reply_line(who, R"({"ok":true,"result":{"id":)" + std::to_string(e.id) + R"(,"name":)" + name + R"(,"report":)" + document + "}}\n");
}

void daemon::experiment_stop(client_id who, const json& body) {
  const auto chosen = chosen_experiments(body);
  if (!chosen) return answer(who, chosen.error());
  if (const auto ended = ended_among(*chosen); !ended.empty()) return answer(who, problem{problem_code::not_found, "the experiment " + ended + " has ended already", ended, {}});
  const actor by = asker(who, body);
  json out = json::array();
  for (experiment* e : *chosen) {
    stop_experiment(*e, "stopped by chaos-ctl experiment stop (uid " + std::to_string(by.uid) + ", " + (by.remote.empty() ? "pid " + std::to_string(by.pid) : by.remote) + ")");
    out.push_back({{"id", e->id}, {"name", e->name}, {"removed", e->removed}});
  }
  answer(who, json{{"experiments", out}});
}

void daemon::experiment_pause(client_id who, const json& body) { set_experiments_paused(who, body, true); }
void daemon::experiment_resume(client_id who, const json& body) { set_experiments_paused(who, body, false); }

void daemon::set_experiments_paused(client_id who, const json& body, bool paused) {
  const auto chosen = chosen_experiments(body);
  if (!chosen) return answer(who, chosen.error());
  const experiment_state from = paused ? experiment_state::running : experiment_state::paused, to = paused ? experiment_state::paused : experiment_state::running;
  if (!paused)
    if (const auto good = safety_.may_begin(); !good) return answer(who, good.error());
  for (const experiment* e : *chosen)
    if (e->state != from && e->state != to)
      return answer(who, problem{problem_code::not_found, "the experiment " + e->name + " can not be " + (paused ? "paused" : "resumed") + ": its state is " +
                                     experiment_state_names[static_cast<int>(e->state)], e->name, {}});
  json out = json::array();
  std::vector<std::uint32_t> resumed;
  for (experiment* e : *chosen) {
    const std::vector<std::uint32_t> ids = rules_of(*e);
    if (const auto good = rules_.set_paused(ids, paused); !good) return answer(who, good.error());
    if (!paused) resumed.insert(resumed.end(), ids.begin(), ids.end());
    if (e->state != to) tell_of(*e, paused ? "paused" : "resumed");
    e->state = to;
    out.push_back({{"id", e->id}, {"name", e->name}, {"ids", ids}});
  }
  keep_experiments();
  after_change();
  break_live(resumed);
  answer(who, json{{"experiments", out}});
}

// --- chaosd itself

json daemon::list_experiments() const {
  json out = json::array();
  for (const experiment& e : experiments_.all()) out.push_back(experiments::describe(e, monotonic_ns()));
  return {{"experiments", out}, {"max", how_.experiments_max}, {"timeout_ms", how_.experiment_timeout_ns / 1'000'000}, {"enabled", how_.enabled},
          {"dry_run", how_.dry_run}, {"stop_file", how_.stop_file}, {"stopped", safety_.stopped()}, {"verdicts", experiments_.verdicts()}};
}

// "experiment": an id or a name; without it every one that runs.
result<std::vector<experiment*>> daemon::chosen_experiments(const json& body) {
  const json word = body.value("experiment", json());
  if (word.is_null()) return experiments_.live();
  if (!word.is_string() && !word.is_number_unsigned()) return problem{problem_code::bad_request, "\"experiment\" is neither an id nor a name", word.dump(), {}};
  const auto found = experiments_.find(word.is_string() ? word.get<std::string>() : word.dump());
  if (!found) return found.error();
  return std::vector<experiment*>{*found};
}

std::string daemon::ended_among(const std::vector<experiment*>& chosen) {
  for (const experiment* e : chosen)
    if (!e->live()) return e->name;
  return "";
}

std::vector<std::uint32_t> daemon::rules_of(const experiment& e) const {
  std::vector<std::uint32_t> ids;
  for (const auto& [id, r] : rules_.live())
    if (e.by.pid != 0 && r.compiled.owner == static_cast<std::uint32_t>(e.by.pid) && (e.by.pid != getpid() || r.compiled.name == e.name)) ids.push_back(id);
  return ids;
}

void daemon::tell_of(const experiment& e, const std::string& what) {
  const std::string text = "experiment " + std::to_string(e.id) + " '" + e.name + "': " + what;
  spdlog::info("{}", text);
  timeline_.say(protocol::to_line(json{{"kind", "experiment"}, {"time_ns", monotonic_ns()}, {"pid", e.by.pid}, {"message", text}}));
}

// Before anything of this daemon is told: what it finds belongs to the one before.
void daemon::restore_experiments() {
  std::string trouble;
  const auto aborted = experiments_.restore(experiments_file_.load(trouble));
  if (!trouble.empty()) {
    notes_.push_back(trouble);
    spdlog::error("{}", trouble);
  }
  for (const experiment* e : aborted) tell_of(*e, e->verdict + ": " + e->reason);
  if (!aborted.empty()) keep_experiments();
  experiments_.have_reports(reports_.keep(experiments_.ids()));
}

void daemon::keep_report(experiment& e) {
  if (e.report_text.empty()) return;
  e.no_report = reports_.save(e.id, e.report_text);
  e.report_text = std::string();
  if (!e.no_report.empty()) spdlog::error("the report of the experiment {}: {}", e.name, e.no_report);
}

void daemon::keep_experiments() {
  std::string trouble = experiments_file_.save(experiments_, monotonic_ns());
  if (!trouble.empty() && trouble != experiments_unsaved_) spdlog::error("{}", trouble);
  experiments_unsaved_ = std::move(trouble);
}

void daemon::remove_rules_of(experiment& e, const std::string& reason) {
  const std::vector<std::uint32_t> ids = rules_of(e);
  if (ids.empty()) return;
  for (const std::uint32_t id : ids) e.removed.push_back(rules_.names_of(id).name);
  rules_.end_now([&](const live_rule& r) { return std::find(ids.begin(), ids.end(), r.id()) != ids.end(); }, reason);
  after_change();
}

// The rules go at once; the runner hears of it with its next progress, ends its load and its report.
void daemon::stop_experiment(experiment& e, const std::string& reason) {
  if (!e.live() || e.state == experiment_state::stopping) return;
  e.state = experiment_state::stopping;
  e.stop_reason = reason;
  remove_rules_of(e, "its experiment was " + reason);
  tell_of(e, reason + (e.removed.empty() ? "" : "; removed: " + joined(e.removed)));
  keep_experiments();
  experiment_timer_.at(experiments_.next_deadline_ns());
}

void daemon::conclude(experiment& e, const std::string& verdict, const std::string& reason) {
  remove_rules_of(e, "its experiment ended");
  tell_of(e, verdict + (reason.empty() ? "" : ": " + reason));
  experiments_.end(e, verdict, reason, monotonic_ns());
  experiments_.have_reports(reports_.keep(experiments_.ids()));
  keep_experiments();
  experiment_timer_.at(experiments_.next_deadline_ns());
}

void daemon::runner_gone(client_id who) {
  experiment* const e = experiments_.of_runner(who);
  if (!e) return;
  remove_rules_of(*e, "the runner of its experiment is gone");
  const std::string reason = "its runner (pid " + std::to_string(e->by.pid) + ") went away without a word" + (e->removed.empty() ? "" : "; removed: " + joined(e->removed));
  audit_.write({geteuid(), 0, ""}, "experiment", {{"action", "lost"}, {"id", e->id}, {"name", e->name}, {"runner", e->by.pid}, {"removed", e->removed}});
  conclude(*e, "lost", reason);
}

void daemon::time_out_experiments() {
  const std::uint64_t now = monotonic_ns();
  for (experiment* e : experiments_.live())
    if (e->state != experiment_state::stopping && e->deadline_ns <= now) {
      stop_experiment(*e, "stopped: experiment_timeout of chaosd (" + rules::format_duration(how_.experiment_timeout_ns) + ") has passed");
      audit_.write({geteuid(), 0, ""}, "experiment", {{"action", "time_out"}, {"id", e->id}, {"name", e->name}, {"removed", e->removed}});
    }
  experiment_timer_.at(experiments_.next_deadline_ns());
}

void daemon::stop_experiments(const std::string& reason) {
  for (experiment* e : experiments_.live()) stop_experiment(*e, reason);
}

void daemon::honour_stop_file() {
  if (!safety_.stopped()) return;
  const std::size_t rules = rules_.live().size(), running = experiments_.live_count() - experiments_.stopping_count();
  if (rules == 0 && running == 0) return;
  const std::string reason = "stopped: the stop file " + how_.stop_file + " is there";
  stop_experiments(reason);
  rules_.end_now([](const live_rule&) { return true; }, reason);
  page_.stop_lingering();
  const unsigned breakers = release_breakers("the stop file");
  spdlog::warn("the stop file {} is there: {} rules and {} experiments ended", how_.stop_file, rules, running);
  audit_.write({geteuid(), 0, ""}, "stop_file", {{"file", how_.stop_file}, {"rules", rules}, {"experiments", running}, {"breakers", breakers}});
  after_change();
}

}  // namespace chaos::daemon
