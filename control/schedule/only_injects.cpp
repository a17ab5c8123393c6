#include "only_injects.hpp"

#include <algorithm>

namespace chaos::schedule {

using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

struct harmless {  // what does not stand here may do more, also when it is new
  const char *section, *key;
};
constexpr harmless keys[] = {{"schedule", "name"}, {"schedule", "interval"}, {"schedule", "minimum_interval"}, {"schedule", "jitter"}, {"schedule", "start_wait"}, {"schedule", "recovery"},
                             {"schedule", "count"}, {"schedule", "seed"}, {"schedule", "enabled"}, {"health", "check"}, {"health", "timeout"}, {"health", "widen"}, {"health", "interval_max"},
                             {"target", "process"}, {"scenario", "weight"}, {"scenario", "rule"}, {"scenario", "recovery"}, {"scenario", "mode"}, {"scenario", "targets"}};

bool only_injects(const ini::section& s, const ini::entry& e) {
  if (s.kind == "health" && e.key == "check") return e.value.starts_with("http://") || e.value.starts_with("tcp://");  // else a command
  return std::ranges::any_of(keys, [&](const harmless& h) { return s.kind == h.section && e.key == h.key; });
}

}  // namespace

result<plan> plan_that_only_injects(std::string_view text) {
  std::string variable;
  const ini::environment none = [&](const std::string& name) -> std::optional<std::string> {
    variable = name;
    return std::nullopt;
  };
  const auto sections = ini::read_sections(text, none);
  if (!variable.empty()) return problem{problem_code::not_allowed, "${" + variable + "} stands for a variable of chaosd: a text that is sent says what it means itself", variable, {}};
  if (!sections) return sections.error();
  auto p = parse_plan(text, none);
  const bool misspelt = !p && (p.error().code == problem_code::unknown_option || p.error().code == problem_code::unknown_section);
  if (misspelt) return p;
  for (const auto& s : *sections)
    for (const auto& e : s.entries)
      if (!only_injects(s, e))
        return ini::on_line(e.line, {problem_code::not_allowed, "[" + s.title() + "] " + e.key + " may stand in files of the schedules folder, not in a text that is sent", e.key, {}});
  return p;
}

}  // namespace chaos::schedule
