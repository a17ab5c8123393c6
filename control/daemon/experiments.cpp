#include "experiments.hpp"

#include <algorithm>
#include <chrono>

#include "control/rules/suggest.hpp"

namespace chaos::daemon {

using rules::problem;
using rules::problem_code;
using rules::result;

std::vector<const experiment*> experiments::restore(saved_experiments saved) {
  table_ = std::move(saved.table);
  next_ = saved.begun + 1;
  forget_old();
  std::vector<const experiment*> aborted;
  for (experiment& e : table_) {
    e.restored = true;
    if (!e.live()) continue;
    e.state = experiment_state::ended;
    e.verdict = "aborted";
    e.reason = "chaosd went away" + (e.phase.empty() ? "" : " in the phase " + e.phase) + (e.reason.empty() ? "" : "; it was being " + e.reason);
    aborted.push_back(&e);
  }
  return aborted;
}

result<experiment*> experiments::begin(experiment fresh) {
  if (live_count() >= most_) {
    std::string names;
    for (const experiment& e : table_)
      if (e.live()) names += (names.empty() ? "" : ", ") + e.name;
    return problem{problem_code::too_many, "as many experiments run as may at the same time, " + std::to_string(most_) + ": " + names +
                       " (experiments_max of chaosd)", fresh.name, {}};
  }
  fresh.id = next_++;
  for (std::string* text : {&fresh.name, &fresh.title, &fresh.hypothesis})
    if (text->size() > text_max) text->resize(text_max);
  table_.push_back(std::move(fresh));
  return &table_.back();
}

void experiments::end(experiment& e, std::string verdict, std::string reason, std::uint64_t now_ns) {
  e.state = experiment_state::ended;
  e.verdict = verdict.substr(0, text_max);
  e.reason = reason.substr(0, text_max);
  e.runner = 0;
  e.ended_ns = now_ns;
  ++verdicts_[verdicts_.count(e.verdict) || verdicts_.size() < verdicts_max ? e.verdict : "other"];
  forget_old();
}

void experiments::forget_old() {
  std::size_t ended = table_.size() - live_count();
  std::erase_if(table_, [&](const experiment& old) { return !old.live() && ended > remember_max && ended--; });
}

experiment* experiments::of_runner(client_id who) {
  const auto at = std::find_if(table_.begin(), table_.end(), [&](const experiment& e) { return e.live() && e.runner == who; });
  return at == table_.end() ? nullptr : &*at;
}

experiment* experiments::of_pid(std::int32_t pid) {
  const auto at = std::find_if(table_.begin(), table_.end(), [&](const experiment& e) { return e.live() && pid != 0 && e.by.pid == pid; });
  return at == table_.end() ? nullptr : &*at;
}

experiment* experiments::of_pid(std::int32_t pid, const std::string& name) {
  const auto at = std::find_if(table_.begin(), table_.end(), [&](const experiment& e) { return e.live() && pid != 0 && e.by.pid == pid && e.name == name; });
  return at == table_.end() ? nullptr : &*at;
}

std::vector<experiment*> experiments::live() {
  std::vector<experiment*> out;
  for (experiment& e : table_)
    if (e.live()) out.push_back(&e);
  return out;
}

std::size_t experiments::live_count() const {
  return static_cast<std::size_t>(std::count_if(table_.begin(), table_.end(), [](const experiment& e) { return e.live(); }));
}

std::size_t experiments::stopping_count() const {
  return static_cast<std::size_t>(std::count_if(table_.begin(), table_.end(), [](const experiment& e) { return e.state == experiment_state::stopping; }));
}

result<experiment*> experiments::find(const std::string& word) {
  experiment* found = nullptr;
  std::vector<std::string> names;
  for (experiment& e : table_) {
    names.push_back(e.name);
    if (std::to_string(e.id) == word) return &e;
    if (e.name == word && (!found || e.live() || !found->live())) found = &e;
  }
  if (found) return found;
  const std::string near = rules::nearest(word, names);
  return problem{problem_code::not_found, "there is no experiment '" + word + "'" + (near.empty() ? "" : ": did you mean '" + near + "'?"), word, names};
}

std::uint64_t experiments::next_deadline_ns() const {
  std::uint64_t first = 0;
  for (const experiment& e : table_)
    if (e.live() && e.state != experiment_state::stopping && e.deadline_ns && (first == 0 || e.deadline_ns < first)) first = e.deadline_ns;
  return first;
}

std::set<std::uint64_t> experiments::ids() const {
  std::set<std::uint64_t> all;
  for (const experiment& e : table_) all.insert(e.id);
  return all;
}

void experiments::have_reports(const std::set<std::uint64_t>& ids) {
  for (experiment& e : table_) e.report = ids.contains(e.id);
}

nlohmann::json experiments::describe(const experiment& e, std::uint64_t now_ns) {
  const std::uint64_t until = e.live() ? now_ns : e.ended_ns;
  nlohmann::json out{{"id", e.id}, {"name", e.name}, {"title", e.title}, {"hypothesis", e.hypothesis}, {"state", experiment_state_names[static_cast<int>(e.state)]},
                     {"phase", e.phase}, {"pid", e.by.pid}, {"uid", e.by.uid}, {"dry_run", e.dry_run}, {"restored", e.restored}, {"began_unix_ms", e.began_unix_ms},
                     {"elapsed_ms", (until - e.began_ns) / 1'000'000}, {"figures", e.figures}, {"removed", e.removed}, {"report", e.report},
                     {"remaining_ms", e.live() && e.deadline_ns > now_ns ? (e.deadline_ns - now_ns) / 1'000'000 : 0},
                     {"verdict", e.live() ? nlohmann::json() : nlohmann::json(e.verdict)}, {"reason", e.live() ? e.stop_reason : e.reason}};
  if (!e.by.remote.empty()) out["remote"] = e.by.remote;
  return out;
}

}  // namespace chaos::daemon
