// chaos-ctl experiment: reads the file, lends the engine its way to chaosd, and tells how it went.
#include <signal.h>

#include <filesystem>

#include "../experiment_report.hpp"
#include "../experiment_session.hpp"
#include "../experiment_table.hpp"
#include "../experiment_text.hpp"
#include "../input.hpp"
#include "../link.hpp"
#include "../output.hpp"
#include "control/experiment/keys.hpp"
#include "control/experiment/report.hpp"
#include "control/experiment/runner.hpp"

namespace chaos::cli::commands {

namespace {

namespace ex = chaos::experiment;
using rules::problem;
using rules::problem_code;
using rules::result;

result<std::string> only_file(const invocation& from) {
  const auto n = from.words.size();
  if (n == 2) return read_input(from.words[1]);
  return problem{n < 2 ? problem_code::missing_word : problem_code::unexpected_word, "experiment " + from.words[0] + " takes one FILE (- for standard input)", n < 2 ? "" : from.words[2], {"FILE"}};
}

result<ex::plan> plan_of(const std::string& path, const std::string& text) {
  auto plan = ex::parse_plan(text, ex::process_environment());
  if (!plan) return in_file(path, text, plan.error());
  return plan;
}

int status_of(const ex::outcome& o) {
  switch (o.verdict) {
    case ex::verdict::held:
    case ex::verdict::dry_run: return exits::done;
    case ex::verdict::failed: return exits::hypothesis_failed;
    case ex::verdict::not_run:
    case ex::verdict::aborted: break;
  }
  return exits::failed;
}

std::string count_of(std::size_t n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

int validate(const invocation& from) {
  const auto text = only_file(from);
  if (!text) return report(text.error(), from);
  const auto read = plan_of(from.words[1], *text);
  if (!read) return report(read.error(), from);
  const ex::plan& plan = *read;
  if (from.json) {
    json expectations = json::array(), aborts = json::array(), probes = json::array(), faults = json::array(), stresses = json::array();
    for (const auto& e : plan.expectations) expectations.push_back({{"window", ex::window_names[static_cast<int>(e.when)]}, {"text", e.text}, {"implied", e.implied}});
    for (const auto& e : plan.aborts) aborts.push_back(e.text);
    for (const auto& p : plan.probes) probes.push_back({{"name", p.name}, {"kind", ex::probe_kind_names[static_cast<int>(p.kind)]}, {"load", p.load}});
    for (const auto& f : plan.faults) faults.push_back(rules::json_of(f.spec));
    for (const auto& s : plan.stresses) stresses.push_back({{"name", s.name}, {"words", s.words}});
    print_json({{"name", plan.name}, {"hypothesis", plan.hypothesis}, {"probes", probes}, {"faults", faults}, {"stress", stresses}, {"expectations", expectations}, {"abort", aborts}});
    return exits::done;
  }
  const auto loads = static_cast<std::size_t>(std::ranges::count_if(plan.probes, &ex::probe_plan::load)) + plan.commands.size();
  print(plan.name + ": " + count_of(plan.probes.size() + plan.commands.size() - loads, "probe") + ", " + (loads ? count_of(loads, "load") + ", " : "") + count_of(plan.faults.size(), "fault") + ", " +
        (plan.stresses.empty() ? "" : count_of(plan.stresses.size(), "stress") + ", ") + count_of(plan.expectations.size(), "expectation") + "\n");
  for (const auto& e : plan.expectations) print(std::string("  ") + ex::window_names[static_cast<int>(e.when)] + ": " + e.text + (e.implied ? " (implied)" : "") + "\n");
  for (const auto& e : plan.aborts) print("  abort: " + e.text + "\n");
  return exits::done;
}

struct candidate {
  std::string path, name;  // name: of the file, without folder and ending
  ex::plan plan;
};

// The files that were named, and the *.ini of folders that were, in order. All of them are read before one is run.
result<std::vector<candidate>> read_candidates(const invocation& from) {
  if (from.words.size() < 2) return problem{problem_code::missing_word, "experiment run takes one FILE (- for standard input), several, or a FOLDER of them", "", {"FILE", "FOLDER"}};
  std::vector<std::string> paths;
  for (const auto& word : std::span(from.words).subspan(1)) {
    std::error_code ignored;
    if (!std::filesystem::is_directory(word, ignored)) {
      paths.push_back(word);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& file : std::filesystem::directory_iterator(word, ignored))
      if (file.path().extension() == ".ini") inside.push_back(file.path());
    if (inside.empty()) return problem{problem_code::failed, "there is no .ini in " + word, word, {}};
    std::ranges::sort(inside);
    paths.insert(paths.end(), inside.begin(), inside.end());
  }
  std::vector<candidate> all;
  std::vector<std::string> names;
  const std::string only = from.get("--only");
  for (const auto& path : paths) {
    names.push_back(std::filesystem::path(path).stem());
    if (from.has("--only") && names.back() != only) continue;
    const auto text = read_input(path);
    if (!text) return text.error();
    auto plan = plan_of(path, *text);
    if (!plan) return plan.error();
    all.push_back({path, names.back(), std::move(*plan)});
  }
  if (all.empty()) return rules::unknown_word(problem_code::bad_value, "experiment", only, names);
  return all;
}

struct run_result {
  json document;
  int status;
};

result<run_result> run_plan(const invocation& from, const ex::plan& plan, const session_location& where) {
  auto entry = ex::registration::begin(where.folder, plan, from.has("--dry-run"));
  if (!entry) return entry.error();
  experiment_session session(where);
  ex::manner how;
  how.dry_run = (*entry)->dry_run();
  how.registry = entry->get();
  how.signal = &caught_signal();
  progress_line progress(plan);
  if (!from.json) {
    how.tell = [&](ex::phase p, const std::string& length) { progress.phase(p, length); };
    how.show = [&](const ex::live& now) { progress.show(now); };
  }
  const auto outcome = ex::run(plan, session, how);
  json document = ex::json_of(outcome);
  (*entry)->end(outcome, document);
  progress.clear();
  return run_result{std::move(document), status_of(outcome)};
}

// Several: each has its report (FILE-NAME.html for FILE.html) and its line, and at the end it is said how many held.
int run_suite(const invocation& from, const std::vector<candidate>& all, const std::vector<report_file>& files, const session_location& where) {
  json documents = json::array();
  table lines({"", "experiment", ""});
  std::size_t held = 0;
  bool failed = false, not_tested = false;
  for (const auto& one : all) {
    if (caught_signal()) {
      not_tested = true;
      break;
    }
    if (!from.json) note(one.name);
    auto ran = run_plan(from, one.plan, where);
    if (!ran) return report(ran.error(), from);
    auto own = files;
    for (auto& f : own) f.path.insert(f.path.rfind('.'), "-" + one.name);
    if (!write_reports(ran->document, own)) not_tested = true;
    held += ran->status == exits::done;
    failed = failed || ran->status == exits::hypothesis_failed;
    not_tested = not_tested || ran->status == exits::failed;
    if (!from.json && ran->status != exits::done) print(experiment_text(ran->document) + "\n");
    lines.row({ran->status == exits::done ? paint(ink::green, "PASS") : paint(ink::red, "FAIL"), one.name, text_of(ran->document, "reason")});
    ran->document["file"] = one.path;
    documents.push_back(std::move(ran->document));
  }
  if (from.json) print_json({{"experiments", documents}, {"passed", held}, {"total", all.size()}});
  else print(lines.text() + "\n" + std::to_string(held) + " of " + std::to_string(all.size()) + " passed\n");
  return failed ? exits::hypothesis_failed : not_tested ? exits::failed : exits::done;
}

int run_it(const invocation& from) {
  const auto all = read_candidates(from);
  if (!all) return report(all.error(), from);
  const auto files = report_files(from);
  if (!files) return report(files.error(), from);
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  if (auto link = daemon_for(from, *where); !link) return report(link.error(), from);
  caught_signal();  // noticed between two steps from here on; the faults are removed first
  signal(SIGPIPE, SIG_IGN);
  std::error_code ignored;
  if (from.words.size() > 2 || std::filesystem::is_directory(from.words[1], ignored)) return run_suite(from, *all, *files, *where);
  const auto ran = run_plan(from, all->front().plan, *where);
  if (!ran) return report(ran.error(), from);
  const bool written = write_reports(ran->document, *files);
  if (from.json) print_json(ran->document);
  else print(experiment_text(ran->document));
  return ran->status == exits::done && !written ? exits::failed : ran->status;
}

// WORD of `experiment report`: a file, else an experiment of chaosd's table.
bool names_file(const std::string& word) {
  std::error_code ignored;
  return word == "-" || word.ends_with(".json") || word.find('/') != word.npos || std::filesystem::exists(word, ignored);
}

result<json> report_of_table(const invocation& from) {
  const auto where = session_of(from);
  if (!where) return where.error();
  auto link = daemon_that_runs(*where);
  if (!link) return link.error();
  auto answer = link->call(protocol::command::experiment, {{"action", "report"}, {"experiment", from.words[1]}});
  if (!answer) return answer.error();
  return ex::checked_report(answer->result.value("report", json()));
}

result<json> report_named(const invocation& from) {
  const auto n = from.words.size();
  if (n != 2)
    return problem{n < 2 ? problem_code::missing_word : problem_code::unexpected_word,
                   "experiment report takes one FILE (- for standard input), or the ID or NAME of an experiment that has ended", n < 2 ? "" : from.words[2], {"FILE", "ID", "NAME"}};
  if (!names_file(from.words[1])) return report_of_table(from);
  const auto text = read_input(from.words[1]);
  if (!text) return text.error();
  auto document = ex::report_from(*text);
  if (!document) return in_file(from.words[1], *text, document.error());
  return document;
}

int show_report(const invocation& from) {
  ex::report_form form = terminal_form();
  if (from.has("--format")) {
    const auto named = form_named(from.get("--format"));
    if (!named) return report(named.error(), from);
    form = *named;
  }
  const auto document = report_named(from);
  if (!document) return report(document.error(), from);
  const auto files = report_files(from);
  if (!files) return report(files.error(), from);
  try {
    const bool written = write_reports(*document, *files);
    if (from.json) print_json(*document);
    else if (files->empty() || from.has("--format")) print(form.text(*document));
    return written ? exits::done : exits::failed;
  } catch (const json::exception& e) {
    return report({problem_code::bad_value, from.words[1] + ": this report is damaged: " + e.what(), from.words[1], {}}, from);
  }
}

int list_keys(const invocation& from) {
  if (from.words.size() != 1) return report({problem_code::unexpected_word, "experiment keys takes no more words", from.words[1], {}}, from);
  if (from.json) {
    json keys = json::array(), metrics = json::array();
    for (const auto& k : ex::all_keys()) keys.push_back({{"section", k.section}, {"kinds", k.kinds}, {"name", k.name}, {"default", k.needed() ? json() : json(k.otherwise)}, {"needed", k.needed()}, {"meaning", k.meaning}});
    for (const auto& m : ex::all_metrics()) metrics.push_back({{"name", m.name}, {"meaning", m.meaning}});
    print_json({{"keys", keys}, {"metrics", metrics}});
    return exits::done;
  }
  table keys({"section", "of", "key", "default", ""});
  for (const auto& k : ex::all_keys()) keys.row({k.section, k.kinds, k.name, k.otherwise, k.meaning});
  table metrics({"expectation", ""});
  for (const auto& m : ex::all_metrics()) metrics.row({m.name, m.meaning});
  print(keys.text() + "\n" + metrics.text());
  return exits::done;
}

struct action {
  const char* name;
  int (*act)(const invocation&);
  std::vector<std::string> flags;
};

}  // namespace

int experiment(const invocation& from) {
  static const std::vector<action> actions{{"run", run_it, {"--report", "--dry-run", "--only"}}, {"validate", validate, {}}, {"report", show_report, {"--report", "--format"}}, {"keys", list_keys, {}},
                                           {"list", experiment_table, {}}, {"status", experiment_table, {}}, {"stop", experiment_table, {}}, {"pause", experiment_table, {}}, {"resume", experiment_table, {}}};
  std::vector<std::string> names;
  for (const auto& a : actions) names.emplace_back(a.name);
  if (from.words.empty()) {
    std::string all;
    for (const auto& n : names) all += (all.empty() ? "" : &n == &names.back() ? " or " : ", ") + n;
    return report({problem_code::missing_word, "experiment needs to know what to do: " + all, "", names}, from);
  }
  const auto chosen = std::ranges::find(actions, from.words[0], &action::name);
  if (chosen == actions.end()) return report(rules::unknown_word(problem_code::unexpected_word, "action", from.words[0], names), from);
  for (const auto& [flag, values] : from.options) {
    if (std::ranges::find(chosen->flags, flag) != chosen->flags.end()) continue;
    std::string all;
    for (const auto& a : actions)
      if (std::ranges::find(a.flags, flag) != a.flags.end()) all += std::string(all.empty() ? "" : " and ") + "experiment " + a.name;
    if (!all.empty()) return report({problem_code::bad_combination, flag + " goes with " + all, flag, {}}, from);
  }
  return chosen->act(from);
}

}  // namespace chaos::cli::commands
