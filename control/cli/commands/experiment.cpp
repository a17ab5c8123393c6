// chaos-ctl experiment: reads the file, lends the engine its way to chaosd, and tells how it went.
#include <signal.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

#include "../experiment_report.hpp"
#include "../experiment_session.hpp"
#include "../experiment_table.hpp"
#include "../experiment_text.hpp"
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

std::atomic<int> caught{0};

// Ctrl-C and the like: noticed between two steps; the faults are removed first. A second one changes nothing.
void catch_signals() {
  struct sigaction action{};
  action.sa_handler = [](int s) { caught = s; };
  for (const int s : {SIGINT, SIGTERM, SIGHUP}) sigaction(s, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

result<std::string> read_file(const std::string& path) {
  std::ostringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
    return text.str();
  }
  std::ifstream in(path, std::ios::binary);
  if (in.is_open()) text << in.rdbuf();
  if (!in.is_open() || in.bad()) return problem{problem_code::failed, "can not read " + path + ": " + std::strerror(errno), path, {}};
  return text.str();
}

result<std::string> only_file(const invocation& from) {
  const auto n = from.words.size();
  if (n == 2) return read_file(from.words[1]);
  return problem{n < 2 ? problem_code::missing_word : problem_code::unexpected_word, "experiment " + from.words[0] + " takes one FILE (- for standard input)", n < 2 ? "" : from.words[2], {"FILE"}};
}

result<ex::plan> read_plan(const invocation& from) {
  const auto text = only_file(from);
  if (!text) return text.error();
  auto plan = ex::parse_plan(*text, ex::process_environment());
  if (plan) return plan;
  problem p = plan.error();
  p.message = from.words[1] + (p.message.starts_with("line ") ? ", " : ": ") + p.message;
  return p;
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
  const auto read = read_plan(from);
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

int run_it(const invocation& from) {
  const auto plan = read_plan(from);
  if (!plan) return report(plan.error(), from);
  const auto files = report_files(from);
  if (!files) return report(files.error(), from);
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  if (auto link = daemon_for(from, *where); !link) return report(link.error(), from);
  catch_signals();
  auto entry = ex::registration::begin(where->folder, *plan, from.has("--dry-run"));
  if (!entry) return report(entry.error(), from);
  experiment_session session(*where);
  ex::manner how;
  how.dry_run = (*entry)->dry_run();
  how.registry = entry->get();
  how.signal = &caught;
  progress_line progress(*plan);
  if (!from.json) {
    how.tell = [&](ex::phase p, const std::string& length) { progress.phase(p, length); };
    how.show = [&](const ex::live& now) { progress.show(now); };
  }
  const auto outcome = ex::run(*plan, session, how);
  (*entry)->end(outcome);
  progress.clear();

  const json document = ex::json_of(outcome);
  const bool written = write_reports(document, *files);
  if (from.json) print_json(document);
  else print(experiment_text(document));
  const int status = status_of(outcome);
  return status == exits::done && !written ? exits::failed : status;
}

int show_report(const invocation& from) {
  auto form = report_form::text;
  if (from.has("--format")) {
    const auto named = form_named(from.get("--format"));
    if (!named) return report(named.error(), from);
    form = *named;
  }
  const auto text = only_file(from);
  if (!text) return report(text.error(), from);
  const auto files = report_files(from);
  if (!files) return report(files.error(), from);
  auto document = ex::report_from(*text);
  if (!document) {
    problem p = document.error();
    p.message = from.words[1] + ": " + p.message;
    return report(p, from);
  }
  try {
    const bool written = write_reports(*document, *files);
    if (from.json) print_json(*document);
    else if (files->empty() || from.has("--format")) print(in_form(*document, form));
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
  static const std::vector<action> actions{{"run", run_it, {"--report", "--dry-run"}}, {"validate", validate, {}}, {"report", show_report, {"--report", "--format"}}, {"keys", list_keys, {}},
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
