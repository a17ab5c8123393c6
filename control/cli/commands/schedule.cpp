// chaos-ctl schedule: faults at random, again and again, by a plan.
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "../daemon_faults.hpp"
#include "../input.hpp"
#include "../link.hpp"
#include "../output.hpp"
#include "../pages.hpp"
#include "chaos/abi/session.hpp"
#include "control/proc/match.hpp"
#include "control/rules/values.hpp"
#include "control/schedule/preview.hpp"
#include "control/schedule/runner.hpp"

namespace chaos::cli::commands {

namespace {

namespace sc = chaos::schedule;
using rules::problem;
using rules::problem_code;
using rules::result;

constexpr std::uint64_t plan_lines_max = 1'000'000;

result<sc::plan> read_plan(const std::string& path) {
  const auto text = read_input(path);
  if (!text) return text.error();
  auto plan = sc::parse_plan(*text, ini::process_environment());
  if (!plan) return in_file(path, *text, plan.error());
  return plan;
}

std::string length_of(std::chrono::nanoseconds ns) { return rules::format_duration(static_cast<std::uint64_t>(ns.count())); }

result<std::uint64_t> seed_of(const invocation& from, const sc::plan& p) {
  if (from.has("--seed")) return rules::parse_seed("--seed", from.get("--seed"));
  return p.seed ? *p.seed : sc::fresh_seed();
}

int validate(const invocation& from, const sc::plan& p) {
  double total = 0;
  for (const auto& s : p.scenarios) total += s.weight;
  if (from.json) {
    json scenarios = json::array(), targets = json::array();
    for (const auto& s : p.scenarios) scenarios.push_back({{"name", s.name}, {"weight", s.weight}, {"share", s.weight / total}, {"rules", s.rules}, {"command", s.command}, {"restart", s.restart}, {"mode", s.mode}});
    for (const auto& t : p.targets) targets.push_back({{"name", t.name}, {"process", t.process}});
    print_json({{"name", p.name}, {"enabled", p.enabled}, {"interval_ms", p.interval.count() / 1'000'000}, {"scenarios", scenarios}, {"targets", targets}});
    return exits::done;
  }
  print(p.name + (p.enabled ? "" : " (not enabled)") + ": an injection every " + length_of(p.interval) + " for " + length_of(p.recovery) + ", the first after " + length_of(p.start_wait) + ", on " +
        (p.targets.empty() ? "whatever the rules say" : human_count(p.targets.size()) + (p.targets.size() == 1 ? " target" : " targets")) + "\n");
  table t({"scenario", ">share", "what"});
  for (const auto& s : p.scenarios) {
    std::string what;
    for (const auto& r : s.rules) what += (what.empty() ? "" : "; ") + r;
    if (!s.command.empty()) what += (what.empty() ? "" : "; ") + std::string("$ ") + s.command;
    t.row({s.name, experiment::human(experiment::unit::share, s.weight / total), what + (s.restart ? ", then a restart" : "")});
  }
  print(t.text());
  return exits::done;
}

int dry_run(const invocation& from, const sc::plan& p, std::uint64_t seed) {
  const std::uint64_t count = p.count ? p.count : sc::preview_count;
  if (count > plan_lines_max) return report({problem_code::bad_value, "--count: more than " + std::to_string(plan_lines_max) + " lines of a plan", std::to_string(count), {}}, from);
  if (from.json) {
    json all = json::array();
    sc::preview(p, seed, count, [&](const sc::injection& in, std::chrono::nanoseconds after) { all.push_back(sc::json_of(in, after)); });
    print_json({{"name", p.name}, {"seed", seed}, {"plan", all}});
    return exits::done;
  }
  table t({">#", ">after", "scenario", "target", "for", "what"});
  sc::preview(p, seed, count, [&](const sc::injection& in, std::chrono::nanoseconds after) {
    std::string what;
    for (const auto& r : in.rules) what += (what.empty() ? "" : "; ") + r;
    if (!in.command.empty()) what += (what.empty() ? "$ " : "; $ ") + in.command;
    t.row({std::to_string(in.number), human_ns(static_cast<std::uint64_t>(after.count())), in.what->name, in.where ? in.where->name : "", length_of(in.recovery), what});
  });
  print("seed " + std::to_string(seed) + "\n" + t.text());
  return exits::done;
}

std::string clock_now() {
  char text[16];
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::strftime(text, sizeof text, "%H:%M:%S", &local);
  return text;
}

// A descriptor that is readable once the schedule should end: a signal came, or its owner is gone.
result<int> told_to_end(const invocation& from) {
  sigset_t ends;
  sigemptyset(&ends);
  for (const int s : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&ends, s);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  const int signals = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
  if (!from.has("--owner")) return signals;
  const auto pid = rules::parse_pid("--owner", from.get("--owner"));
  if (!pid) return pid.error();
  const int owner = static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(*pid), 0));
  if (owner < 0) return problem{problem_code::not_found, "--owner: there is no process " + from.get("--owner"), from.get("--owner"), {}};
  const int either = epoll_create1(EPOLL_CLOEXEC);
  epoll_event readable{};
  readable.events = EPOLLIN;
  for (const int fd : {signals, owner}) epoll_ctl(either, EPOLL_CTL_ADD, fd, &readable);
  return either;
}

int run_it(const invocation& from, const sc::plan& p, std::uint64_t seed) {
  if (!p.enabled) {
    if (from.json) print_json({{"name", p.name}, {"enabled", false}});
    else print(p.name + ": not enabled; nothing is done\n");
    return exits::done;
  }
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  if (auto link = daemon_for(from, *where); !link) return report(link.error(), from);
  const auto lock = sc::lock::take(where->folder, p.name);
  if (!lock) return report(lock.error(), from);
  const auto told = told_to_end(from);
  if (!told) return report(told.error(), from);
  signal(SIGPIPE, SIG_IGN);

  sc::surroundings world;
  world.faults = [&] { return std::make_unique<daemon_faults>(*where); };
  world.runs = [&](const sc::target& t) {
    return std::ranges::any_of(attached_in(where->folder), [&](const attached_process& p) { return proc::named_like(t.process.c_str(), p.executable, p.name); });
  };
  world.session = {{abi::env_dir, where->base}, {abi::env_session, where->session}};
  world.signals = *told;
  sc::teller tell(p, p.audit_file.empty() ? where->file(("schedule-" + p.name + ".jsonl").c_str()) : p.audit_file, seed, [&](const json& event, const std::string& sentence) {
    if (from.json) print(event.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
    else print(clock_now() + "  " + sentence + "\n");
  });
  if (const auto good = tell.open(); !good) return report(good.error(), from);
  const auto done = sc::run(p, seed, where->folder, world, tell);
  return done.why == sc::end_reason::counted || done.why == sc::end_reason::told ? exits::done : exits::failed;
}

int status(const invocation& from) {
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  const auto all = sc::known_schedules(where->folder);
  const auto now = sc::unix_ms();
  json rows = json::array();
  table t({"name", "state", ">pid", ">injected", ">skipped", ">seed", "now", "left"});
  for (const auto& s : all) {
    json row = s.record;
    row["name"] = s.name;
    row["running"] = s.running;
    if (s.running) row["pid"] = s.pid;
    const std::string said = text_of(row, "state", "starting");
    const std::string state = s.running || said == "ended" ? said : "died";
    row["state"] = state;
    const auto until = static_cast<std::int64_t>(number(row, "until_unix_ms"));
    const auto left = s.running && until > now ? human_ns(static_cast<std::uint64_t>(until - now) * 1'000'000) : "-";
    t.row({s.name, state, s.running ? std::to_string(s.pid) : "-", human_count(number(row, "injections")), human_count(number(row, "skipped")), std::to_string(number(row, "seed")),
           text_of(row, "scenario", "-") + (text_of(row, "target").empty() ? "" : " on " + text_of(row, "target")), left});
    rows.push_back(std::move(row));
  }
  if (from.json) print_json({{"schedules", rows}});
  else print(all.empty() ? "no schedule has run in this session\n" : t.text());
  return exits::done;
}

int stop_it(const invocation& from) {
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  std::vector<std::string> names;
  bool found = false;
  for (const auto& s : sc::known_schedules(where->folder)) {
    names.push_back(s.name);
    if (from.words.size() > 1 && s.name != from.words[1]) continue;
    if (!s.running) continue;
    found = true;
    if (s.pid <= 0 || kill(s.pid, SIGTERM) < 0)
      return report({problem_code::failed, "the schedule " + s.name + " (pid " + std::to_string(s.pid) + ") can not be told to end: " + std::strerror(errno), s.name, {}}, from);
  }
  if (!found) {
    if (from.words.size() > 1 && std::find(names.begin(), names.end(), from.words[1]) == names.end()) {
      rules::problem p = rules::unknown_word(problem_code::not_found, "schedule", from.words[1], names);
      if (names.empty()) p.message += ": none has run in this session";
      return report(p, from);
    }
    return report({problem_code::not_found, "no schedule runs in this session", "", {}}, from);
  }
  // Done means gone: what it injected has been taken back.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (;;) {
    std::string running;
    for (const auto& s : sc::known_schedules(where->folder))
      if (s.running && (from.words.size() < 2 || s.name == from.words[1])) running = s.name;
    if (running.empty()) break;
    if (std::chrono::steady_clock::now() > deadline) return report({problem_code::failed, "the schedule " + running + " was told to end a minute ago, and still runs", running, {}}, from);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (from.json) print_json({{"stopped", true}});
  else print("stopped\n");
  return exits::done;
}

}  // namespace

int schedule(const invocation& from) {
  static const std::vector<std::string> actions{"run", "validate", "status", "stop"};
  if (from.words.empty()) return report({problem_code::missing_word, "schedule needs to know what to do: run, validate, status or stop", "", actions}, from);
  const auto& action = from.words[0];
  if (std::find(actions.begin(), actions.end(), action) == actions.end()) return report(rules::unknown_word(problem_code::unexpected_word, "action", action, actions), from);
  const bool file = action == "run" || action == "validate";
  if (file && from.words.size() < 2) return report({problem_code::missing_word, "schedule " + action + " takes one FILE (- for standard input)", "", {"FILE"}}, from);
  const std::size_t most = action == "status" ? 1 : 2;
  if (from.words.size() > most) return report({problem_code::unexpected_word, "'" + from.words[most] + "' is a word too many for schedule " + action, from.words[most], {}}, from);
  for (const char* flag : {"--seed", "--count", "--owner", "--dry-run"})
    if (action != "run" && from.has(flag)) return report({problem_code::bad_combination, std::string(flag) + " goes with schedule run", flag, {}}, from);
  if (action == "status") return status(from);
  if (action == "stop") return stop_it(from);
  auto plan = read_plan(from.words[1]);
  if (!plan) return report(plan.error(), from);
  if (action == "validate") return validate(from, *plan);
  if (from.has("--count")) {
    const auto count = rules::parse_count("--count", from.get("--count"));
    if (!count) return report(count.error(), from);
    plan->count = *count;
  }
  const auto seed = seed_of(from, *plan);
  if (!seed) return report(seed.error(), from);
  return from.has("--dry-run") ? dry_run(from, *plan, *seed) : run_it(from, *plan, *seed);
}

}  // namespace chaos::cli::commands
