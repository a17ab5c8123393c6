// chaos-ctl experiment: reads the file, lends the engine its way to chaosd, and tells how it went.
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

#include "../daemon_faults.hpp"
#include "../experiment_table.hpp"
#include "../link.hpp"
#include "../output.hpp"
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

enum class form { text, markdown, html, json };

result<form> form_of(const std::string& path) {
  const std::pair<const char*, form> endings[] = {{".md", form::markdown}, {".html", form::html}, {".json", form::json}};
  for (const auto& [ending, f] : endings)
    if (path.ends_with(ending)) return f;
  return problem{problem_code::bad_value, "--report " + path + ": the ending says which form, and is none of .md, .html and .json", path, {".md", ".html", ".json"}};
}

// Found out before anything is injected, not when the report is there and has nowhere to go.
result<rules::done> writable(const std::string& path) {
  std::ofstream out(path, std::ios::app);
  if (out.is_open()) return rules::done{};
  return problem{problem_code::failed, "can not write " + path + ": " + std::strerror(errno), path, {}};
}

std::string shown(const ex::outcome& o) {
  std::string out = paint(ink::bold, o.name) + (o.dry_run ? " (dry run)" : "") + "\n" + o.hypothesis + "\n\n";
  table numbers({"probe", "when", ">requests", ">good", ">p50", ">p95", ">p99", ">max", "answers"});
  for (const auto& p : o.probes)
    for (int w = 0; w < 3; ++w) {
      const auto& s = p.windows[w];
      if (!s.samples) continue;
      std::string answers;
      for (const auto& [what, n] : s.answers) answers += (answers.empty() ? "" : ", ") + what + ": " + std::to_string(n);
      const auto time = [](double ns) { return ex::human(ex::unit::time, ns); };
      numbers.row({p.name, ex::window_names[w], std::to_string(s.samples), ex::human(ex::unit::share, s.success_rate()), time(s.p50_ns), time(s.p95_ns), time(s.p99_ns), time(s.max_ns), answers});
    }
  out += numbers.text() + "\n";
  if (!o.faults.empty()) {
    table faults({"fault", "kind", "target", ">matched", ">fired"});
    for (const auto& f : o.faults) faults.row({f.name, f.kind, f.target, human_count(f.matched), human_count(f.fired)});
    out += faults.text() + "\n";
  }
  table findings({"", "when", "expected", ">measured", ""});
  for (const auto& f : o.findings) {
    const auto mark = f.state == ex::finding_state::pass ? paint(ink::green, "PASS") : f.state == ex::finding_state::fail ? paint(ink::red, "FAIL") : paint(ink::dim, "-");
    findings.row({mark, ex::window_text(f), f.expected.text, ex::measured_text(f), f.reason});
  }
  if (!o.findings.empty()) out += findings.text() + "\n";
  for (const auto& n : o.notes) out += n + "\n";
  switch (o.verdict) {
    case ex::verdict::held: out += paint(ink::green, "PASS: hypothesis held"); break;
    case ex::verdict::failed: out += paint(ink::red, "FAIL: hypothesis failed"); break;
    default: out += paint(ink::yellow, ex::verdict_names[static_cast<int>(o.verdict)]);
  }
  return out + ": " + o.reason + "\n";
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

int check(const invocation& from, const ex::plan& plan) {
  if (from.json) {
    json expectations = json::array(), probes = json::array(), faults = json::array();
    for (const auto& e : plan.expectations) expectations.push_back({{"window", ex::window_names[static_cast<int>(e.when)]}, {"text", e.text}, {"implied", e.implied}});
    for (const auto& p : plan.probes) probes.push_back({{"name", p.name}, {"kind", ex::probe_kind_names[static_cast<int>(p.kind)]}});
    for (const auto& f : plan.faults) faults.push_back(rules::json_of(f));
    print_json({{"name", plan.name}, {"hypothesis", plan.hypothesis}, {"probes", probes}, {"faults", faults}, {"expectations", expectations}});
    return exits::done;
  }
  print(plan.name + ": " + std::to_string(plan.probes.size()) + (plan.probes.size() == 1 ? " probe, " : " probes, ") + std::to_string(plan.faults.size()) +
        (plan.faults.size() == 1 ? " fault, " : " faults, ") + std::to_string(plan.expectations.size()) + " expectations\n");
  for (const auto& e : plan.expectations)
    print(std::string("  ") + ex::window_names[static_cast<int>(e.when)] + ": " + e.text + (e.implied ? " (implied)" : "") + "\n");
  return exits::done;
}

int run_it(const invocation& from, const ex::plan& plan) {
  auto report_form = form::text;
  const std::string path = from.get("--report");
  if (from.has("--report")) {
    const auto f = form_of(path);
    if (!f) return report(f.error(), from);
    report_form = *f;
    if (const auto good = writable(path); !good) return report(good.error(), from);
  }
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  if (auto link = daemon_for(from, *where); !link) return report(link.error(), from);
  catch_signals();
  auto entry = ex::registration::begin(where->folder, plan, from.has("--dry-run"));
  if (!entry) return report(entry.error(), from);
  daemon_faults faults(*where);
  ex::manner how;
  how.dry_run = (*entry)->dry_run();
  how.registry = entry->get();
  how.signal = &caught;
  if (!from.json)
    how.tell = [](ex::phase p, const std::string& length) { note(std::string("· ") + ex::phase_names[static_cast<int>(p)] + (length.empty() ? "" : " (" + length + ")")); };
  const auto outcome = ex::run(plan, faults, how);
  (*entry)->end(outcome);

  int status = status_of(outcome);
  const json document = ex::json_of(outcome);
  if (report_form != form::text) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out << (report_form == form::html ? ex::html_of(outcome) : report_form == form::markdown ? ex::markdown_of(outcome) : document.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
    out.flush();
    if (!out) {
      warn("can not write " + path + ": " + std::strerror(errno));
      if (status == exits::done) status = exits::failed;
    }
  }
  if (from.json) print_json(document);
  else print((isatty(2) ? "\n" : "") + shown(outcome));
  return status;
}

}  // namespace

int experiment(const invocation& from) {
  static const std::vector<std::string> actions{"run", "check", "list", "status", "stop", "pause", "resume"};
  if (from.words.empty()) return report({problem_code::missing_word, "experiment needs to know what to do: run, check, list, status, stop, pause or resume", "", actions}, from);
  const auto& action = from.words[0];
  if (is_experiment_table_action(action)) return experiment_table(from);
  if (action != "run" && action != "check") return report(rules::unknown_word(problem_code::unexpected_word, "action", action, actions), from);
  if (from.words.size() != 2)
    return report({from.words.size() < 2 ? problem_code::missing_word : problem_code::unexpected_word, "experiment " + action + " takes one FILE (- for standard input)",
                   from.words.size() < 2 ? "" : from.words[2], {"FILE"}}, from);
  if (action == "check")
    for (const char* flag : {"--report", "--dry-run"})
      if (from.has(flag)) return report({problem_code::bad_combination, std::string(flag) + " goes with experiment run", flag, {}}, from);
  const auto text = read_file(from.words[1]);
  if (!text) return report(text.error(), from);
  auto plan = ex::parse_plan(*text, ex::process_environment());
  if (!plan) {
    problem p = plan.error();
    p.message = from.words[1] + (p.message.starts_with("line ") ? ", " : ": ") + p.message;
    return report(p, from);
  }
  return action == "check" ? check(from, *plan) : run_it(from, *plan);
}

}  // namespace chaos::cli::commands
