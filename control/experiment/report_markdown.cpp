#include <ctime>

#include "outcome.hpp"

namespace chaos::experiment {

namespace {

std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find_first_of("|<\n", at)) != std::string::npos;) {
    const std::string with = text[at] == '|' ? "\\|" : text[at] == '<' ? "&lt;" : " ";
    text.replace(at, 1, with);
    at += with.size();
  }
  return text;
}

std::string utc(std::int64_t unix_ms) {
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

}  // namespace

std::string markdown_of(const outcome& o) {
  std::string out = "# " + cell(o.name) + "\n\n" + cell(o.hypothesis) + "\n\n**" + (o.verdict == verdict::held ? "PASS: hypothesis held" : o.verdict == verdict::failed ? "FAIL: hypothesis failed" : verdict_names[static_cast<int>(o.verdict)]) +
                    "**: " + cell(o.reason) + ". " + utc(o.started_unix_ms) + (o.dry_run ? ", dry run" : "") + "\n\n";
  out += "| | when | expected | measured | |\n|---|---|---|---|---|\n";
  for (const auto& f : o.findings)
    out += std::string("| ") + (f.state == finding_state::pass ? "PASS" : f.state == finding_state::fail ? "**FAIL**" : "–") + " | " + window_text(f) + " | " + cell(f.expected.text) + " | " +
           cell(measured_text(f)) + " | " + cell(f.reason) + " |\n";
  out += "\n| probe | when | requests | success | p50 | p95 | p99 | max | answers |\n|---|---|--:|--:|--:|--:|--:|--:|---|\n";
  for (const auto& p : o.probes)
    for (int w = 0; w < 3; ++w) {
      const auto& s = p.windows[w];
      if (!s.samples) continue;
      std::string answers;
      for (const auto& [what, n] : s.answers) answers += (answers.empty() ? "" : ", ") + what + ": " + std::to_string(n);
      out += "| " + p.name + " | " + window_names[w] + " | " + std::to_string(s.samples) + " | " + human(unit::share, s.success_rate());
      for (const double v : {s.p50_ns, s.p95_ns, s.p99_ns, s.max_ns}) out += " | " + human(unit::time, v);
      out += " | " + cell(answers) + " |\n";
    }
  if (!o.faults.empty()) out += "\n| fault | kind | target | matched | fired |\n|---|---|---|--:|--:|\n";
  for (const auto& f : o.faults)
    out += "| " + f.name + " | " + f.kind + " | " + cell(f.target) + " | " + std::to_string(f.matched) + " | " + std::to_string(f.fired) + " |\n";
  if (!o.notes.empty()) out += "\n";
  for (const auto& n : o.notes) out += "- " + cell(n) + "\n";
  return out;
}

}  // namespace chaos::experiment
