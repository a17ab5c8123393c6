#include <ctime>
#include <nlohmann/json.hpp>

#include "report.hpp"

namespace chaos::experiment {

using nlohmann::json;

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

std::string cell_at(const json& row, const char* key) { return cell(row.at(key).get<std::string>()); }

}  // namespace

std::string markdown_of(const json& r) {
  std::string out = "# " + cell_at(r, "name") + "\n\n" + cell_at(r, "hypothesis") + "\n\n**" + cell(headline_of(r)) + "**: " + cell_at(r, "reason") + "\n\n" +
                    utc(r.at("started_unix_ms").get<std::int64_t>()) + (r.at("dry_run").get<bool>() ? ", dry run" : "") + "\n\n| | when | expected | measured | |\n|---|---|---|---|---|\n";
  for (const auto& e : r.at("expectations")) {
    const std::string state = e.at("state");
    out += std::string("| ") + (state == "pass" ? "PASS" : state == "fail" ? "**FAIL**" : "–") + " | " + cell_at(e, "window") + " | " + cell_at(e, "text") + " | " + cell_at(e, "measured_text") + " | " +
           cell_at(e, "reason") + " |\n";
  }
  out += "\n| probe | when | requests | success | p50 | p95 | p99 | max | answers |\n|---|---|--:|--:|--:|--:|--:|--:|---|\n";
  for (const auto& p : r.at("probes"))
    for (const char* when : window_names) {
      const auto& w = p.at(when);
      if (w.at("samples") == 0) continue;
      out += "| " + cell_at(p, "name") + " | " + when + " | " + w.at("samples").dump() + " | " + shown(w.at("success_rate"), unit::share);
      for (const char* key : {"p50_ns", "p95_ns", "p99_ns", "max_ns"}) out += " | " + shown(w.at(key), unit::time);
      out += " | " + cell(answers_of(w)) + " |\n";
    }
  if (!r.at("faults").empty()) out += "\n| fault | kind | target | matched | fired |\n|---|---|---|--:|--:|\n";
  for (const auto& f : r.at("faults")) out += "| " + cell_at(f, "name") + " | " + cell_at(f, "kind") + " | " + cell_at(f, "target") + " | " + f.at("matched").dump() + " | " + f.at("fired").dump() + " |\n";
  if (!r.at("notes").empty()) out += "\n";
  for (const auto& n : r.at("notes")) out += "- " + cell(n.get<std::string>()) + "\n";
  return out;
}

}  // namespace chaos::experiment
