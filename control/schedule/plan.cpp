#include "plan.hpp"

#include <algorithm>

#include "control/rules/compile.hpp"
#include "control/rules/values.hpp"

namespace chaos::schedule {

using ini::on_line;
using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

auto text_into(std::string& into) {
  return [&into](const std::string& value) -> result<done> {
    into = value;
    return done{};
  };
}

auto name_into(std::string& into, const char* what) {
  return [&into, what](const std::string& value) -> result<done> {
    if (const auto good = rules::check_name(what, value); !good) return good.error();
    into = value;
    return done{};
  };
}

auto file_into(std::string& into, const char* what) {
  return [&into, what](const std::string& value) -> result<done> {
    if (value.front() != '/') return problem{problem_code::bad_value, std::string(what) + ": '" + value + "' is not an absolute path", value, {"/run/" + value}};
    into = value;
    return done{};
  };
}

auto flag_into(bool& into, const char* what) {
  return [&into, what](const std::string& value) -> result<done> {
    const auto choice = rules::parse_choice(what, value, {"false", "true"});
    if (!choice) return choice.error();
    into = *choice == 1;
    return done{};
  };
}

auto duration_into(nanoseconds& into, const char* what, nanoseconds least, nanoseconds most) {
  return [&into, what, least, most](const std::string& value) -> result<done> {
    const auto read = rules::parse_duration(what, value);
    if (!read) return read.error();
    const nanoseconds length(*read);
    const auto text = [](nanoseconds ns) { return rules::format_duration(static_cast<std::uint64_t>(ns.count())); };
    if (length < least || length > most)
      return problem{problem_code::bad_value, std::string(what) + ": " + value + " lies outside " + text(least) + " to " + text(most), value, {text(least), text(most)}};
    into = length;
    return done{};
  };
}

auto number_into(auto& into, const char* what, std::uint64_t most) {
  return [&into, what, most](const std::string& value) -> result<done> {
    const auto n = rules::parse_count(what, value);
    if (!n) return n.error();
    if (*n > most) return problem{problem_code::bad_value, std::string(what) + ": " + value + " is more than " + std::to_string(most), value, {std::to_string(most)}};
    into = static_cast<std::remove_reference_t<decltype(into)>>(*n);
    return done{};
  };
}

result<done> read_schedule(const ini::section& s, plan& p) {
  return ini::keys(s)
      .on("name", name_into(p.name, "name"))
      .on("enabled", flag_into(p.enabled, "enabled"))
      .on("interval", duration_into(p.interval, "interval", 100ms, 24h * 365))
      .on("minimum_interval", duration_into(p.minimum_interval, "minimum_interval", 100ms, 24h * 365))
      .on("jitter", duration_into(p.jitter, "jitter", 0s, 24h * 365))
      .on("start_wait", duration_into(p.start_wait, "start_wait", 0s, 24h))
      .on("recovery", duration_into(p.recovery, "recovery", 10ms, 24h))
      .on("command_timeout", duration_into(p.command_timeout, "command_timeout", 100ms, 1h))
      .on("count", number_into(p.count, "count", 1'000'000'000))
      .on("seed", [&](const std::string& value) -> result<done> {
        const auto n = rules::parse_seed("seed", value);
        if (!n) return n.error();
        p.seed = *n;
        return done{};
      })
      .on("state_file", file_into(p.state_file, "state_file"))
      .end();
}

result<done> read_health(const ini::section& s, plan& p) {
  return ini::keys(s)
      .on("check", text_into(p.health))
      .on("timeout", duration_into(p.health_timeout, "timeout", 1ms, 1h))
      .on("widen", number_into(p.widen, "widen", 100))
      .on("interval_max", duration_into(p.interval_max, "interval_max", 100ms, 24h * 365))
      .end();
}

result<done> read_audit(const ini::section& s, plan& p) { return ini::keys(s).on("file", file_into(p.audit_file, "file")).on("syslog", flag_into(p.syslog, "syslog")).end(); }

result<done> read_notify(const ini::section& s, plan& p) {
  return ini::keys(s)
      .on("command", text_into(p.notify_command))
      .on("webhook", [&](const std::string& value) -> result<done> {
        if (!value.starts_with("http://") || value.size() < 8)
          return problem{problem_code::bad_value, "webhook: '" + value + "' does not begin with http:// (for TLS: command = curl …)", value, {"http://127.0.0.1:9000/hook"}};
        p.webhook = value;
        return done{};
      })
      .on("timeout", duration_into(p.notify_timeout, "timeout", 1ms, 1h))
      .end();
}

result<target> read_target(const ini::section& s) {
  target t;
  t.name = s.name;
  const auto good = ini::keys(s)
                        .on("process", [&](const std::string& value) -> result<done> {
                          if (const auto glob = rules::check_glob("process", value); !glob) return glob.error();
                          t.process = value;
                          return done{};
                        })
                        .on("start", text_into(t.start))
                        .on("restart", text_into(t.restart))
                        .on("state_file", file_into(t.state_file, "state_file"))
                        .end();
  if (!good) return good.error();
  if (!t.start.empty() && t.process.empty())
    return on_line(s.line, {problem_code::missing_word, "[" + s.title() + "]: start needs process, to know whether it runs", "process", {"process"}});
  return t;
}

result<scenario> read_scenario(const ini::section& s, const plan& p) {
  scenario one;
  one.name = one.mode = s.name;
  one.line = s.line;
  nanoseconds recovery{0};
  const auto good = ini::keys(s)
                        .on("weight", number_into(one.weight, "weight", weight_max))
                        .on_each("rule", [&](const std::string& value) -> result<done> {
                          if (one.rules.size() == abi::rule_max) return problem{problem_code::too_many, "rule: a session has no more than " + std::to_string(abi::rule_max) + " rules", value, {}};
                          one.rules.push_back(value);
                          return done{};
                        })
                        .on("command", text_into(one.command))
                        .on("undo", text_into(one.undo))
                        .on("restart", flag_into(one.restart, "restart"))
                        .on("recovery", duration_into(recovery, "recovery", 10ms, 24h))
                        .on("mode", name_into(one.mode, "mode"))
                        .on("targets", [&](const std::string& value) -> result<done> {
                          std::vector<std::string> known;
                          for (const auto& t : p.targets) known.push_back(t.name);
                          for (const auto& raw : rules::split(value, ',')) {
                            const std::string name(rules::trimmed(raw));
                            if (!p.find(name)) return rules::unknown_word(problem_code::bad_value, "target", name, known);
                            one.targets.push_back(name);
                          }
                          return done{};
                        })
                        .end();
  if (!good) return good.error();
  if (recovery > 0s) one.recovery = recovery;
  return one;
}

// That every rule compiles for every target, with the smallest and the largest numbers.
result<done> check_scenario(const plan& p, const scenario& s) {
  const auto wrong = [&](problem what, const target* where) -> result<done> {
    what.message = "[scenario " + s.name + "]" + (where ? " for the target " + where->name : "") + ": " + what.message;
    return s.line ? on_line(s.line, what) : what;
  };
  auto targets = p.targets_of(s);
  if (targets.empty()) targets.push_back(nullptr);
  if (s.rules.empty() && s.command.empty() && p.state_file.empty() && std::ranges::none_of(targets, [](const target* t) { return t && !t->state_file.empty(); }))
    return wrong({problem_code::missing_word, "it does nothing: rule, command or a state_file is expected", s.name, {"rule", "command"}}, nullptr);
  if (!s.undo.empty() && s.command.empty()) return wrong({problem_code::bad_combination, "undo without command", "undo", {"command"}}, nullptr);
  if (p.recovery_of(s) > p.interval)
    return wrong({problem_code::bad_combination, "it would last longer (recovery) than the interval: " + rules::format_duration(static_cast<std::uint64_t>(p.recovery_of(s).count())), "recovery", {}}, nullptr);
  for (const auto* where : targets) {
    if (s.restart && (!where || where->restart.empty()))
      return wrong({problem_code::missing_word, "it restarts its target, and " + (where ? "[target " + where->name + "] has no restart" : std::string("there is no [target NAME]")), "restart", {"restart"}}, where);
    for (const bool highest : {false, true})
      for (std::size_t i = 0; i < s.rules.size(); ++i) {
        const auto text = with_numbers(s.rules[i], [&](std::uint64_t low, std::uint64_t high) { return highest ? high : low; });
        if (!text) return wrong(text.error(), where);
        if (const auto spec = checked_spec_of(*text, where, rule_name(p, s, i)); !spec) return wrong(spec.error(), where);
      }
  }
  return done{};
}

void add_default_scenarios(plan& p) {
#define SCENARIO(name, weight, mode, rule, restart) p.scenarios.push_back({#name, mode, weight, {rule}, "", "", restart, {}, {}, 0});
#include "scenarios.def"
#undef SCENARIO
}

}  // namespace

const target* plan::find(const std::string& wanted) const {
  const auto found = std::ranges::find(targets, wanted, &target::name);
  return found == targets.end() ? nullptr : &*found;
}

std::vector<const target*> plan::targets_of(const scenario& s) const {
  std::vector<const target*> some;
  for (const auto& t : targets)
    if (s.targets.empty() || std::ranges::find(s.targets, t.name) != s.targets.end()) some.push_back(&t);
  return some;
}

result<std::string> with_numbers(std::string_view text, const std::function<std::uint64_t(std::uint64_t, std::uint64_t)>& choose) {
  std::string out;
  for (;;) {
    const auto open = text.find('{');
    out += text.substr(0, open);
    if (open == text.npos) return out;
    const auto close = text.find('}', open);
    const auto inside = text.substr(open + 1, close == text.npos ? close : close - open - 1);
    const auto dots = inside.find("..");
    const auto low = rules::parse_seed("number", inside.substr(0, dots)), high = rules::parse_seed("number", dots == inside.npos ? "" : inside.substr(dots + 2));
    if (close == text.npos || dots == inside.npos || !low || !high || *low > *high || *high > 1'000'000'000)
      return problem{problem_code::bad_value, "'{" + std::string(inside) + "}' is not {FIRST..LAST}, such as {10..30}", "{" + std::string(inside) + "}", {"{10..30}"}};
    out += std::to_string(choose(*low, *high));
    text.remove_prefix(close + 1);
  }
}

std::string rule_name(const plan& p, const scenario& s, std::size_t index) { return p.name + "-" + s.name + (index ? "-" + std::to_string(index + 1) : ""); }

result<rules::rule_spec> spec_of(const std::string& text, const target* where, const std::string& name) {
  const auto words = rules::split_words(text);
  if (!words) return words.error();
  auto spec = rules::spec_from_words(*words);
  if (!spec) return spec;
  using rules::option;
  for (const auto bad : {option::owner_, option::forever_, option::name_})
    if (spec->has(bad))
      return problem{problem_code::bad_combination, rules::flag_of(bad) + " has no meaning here: the rules of a schedule have its name and end with it", rules::flag_of(bad), {}};
  if (const auto good = rules::check_name("the name of its rule (NAME-SCENARIO)", name); !good) return good.error();
  spec->options[option::name_] = name;
  if (where && !where->process.empty() && !spec->has(option::process_) && !spec->has(option::pid_)) spec->options[option::process_] = where->process;
  return spec;
}

result<rules::rule_spec> checked_spec_of(const std::string& text, const target* where, const std::string& name) {
  auto spec = spec_of(text, where, name);
  if (!spec) return spec;
  rules::compile_setting setting;
  setting.id = setting.slot = 1;
  if (const auto compiled = rules::compile(*spec, setting); !compiled) return compiled.error();
  return spec;
}

result<plan> parse_plan(std::string_view text, const ini::environment& variables) {
  const auto sections = ini::read_sections(text, variables);
  if (!sections) return sections.error();
  plan p;
  const ini::section* head = nullptr;
  using reader = result<done> (*)(const ini::section&, plan&);
  const std::pair<const char*, reader> single[] = {{"schedule", read_schedule}, {"health", read_health}, {"audit", read_audit}, {"notify", read_notify}};
  for (const auto& s : *sections) {  // targets and settings first: scenarios refer to them
    if (s.kind == "target" || s.kind == "scenario") {
      if (s.name.empty()) return on_line(s.line, {problem_code::missing_word, "[" + s.kind + "]: a name is missing: [" + s.kind + " NAME]", s.kind, {s.kind + " NAME"}});
      if (const auto good = rules::check_name("[" + s.title() + "]", s.name); !good) return on_line(s.line, good.error());
      if (s.kind == "scenario") continue;
      auto t = read_target(s);
      if (!t) return t.error();
      p.targets.push_back(std::move(*t));
      continue;
    }
    const auto row = std::ranges::find(single, s.title(), [](const auto& r) { return std::string(r.first); });
    if (row == std::end(single))
      return on_line(s.line, rules::unknown_word(problem_code::unknown_section, "section", s.title(), {"schedule", "health", "audit", "notify", "target NAME", "scenario NAME"}));
    if (s.kind == "schedule") head = &s;
    if (const auto good = row->second(s, p); !good) return good.error();
  }
  if (!head) return problem{problem_code::missing_word, "there is no [schedule]", "", {"[schedule]"}};
  const auto in_head = [&](problem_code code, const std::string& message, const char* word) { return on_line(head->line, {code, "[schedule]: " + message, word, {}}); };
  if (p.interval < p.minimum_interval) return in_head(problem_code::bad_combination, "interval is shorter than minimum_interval (default 1min): nothing would ever be that frequent", "interval");
  if (p.jitter > p.interval) return in_head(problem_code::bad_combination, "jitter is more than the interval", "jitter");
  if (p.interval_max < p.interval) p.interval_max = p.interval;
  for (const auto& s : *sections) {
    if (s.kind != "scenario") continue;
    auto one = read_scenario(s, p);
    if (!one) return one.error();
    p.scenarios.push_back(std::move(*one));
  }
  if (p.scenarios.empty()) add_default_scenarios(p);
  if (p.targets.size() > targets_max || p.scenarios.size() > scenarios_max)
    return problem{problem_code::too_many, "more than " + std::to_string(targets_max) + " targets or scenarios", "", {}};
  for (const auto& s : p.scenarios)
    if (const auto good = check_scenario(p, s); !good) return good.error();
  return p;
}

}  // namespace chaos::schedule
