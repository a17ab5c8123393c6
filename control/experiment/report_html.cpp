// The page is put together from control/experiment/page and third_party/uplot, which are embedded into the program: text and tables are
// written here, the plots by report.js from the JSON document that the page carries.
#include <ctime>
#include <nlohmann/json.hpp>

#include "embedded.hpp"
#include "markup.hpp"
#include "report.hpp"

namespace chaos::experiment {

using nlohmann::json;

namespace {

// A document inside <script>: nothing in it may look like the end of one.
std::string script_safe(const json& document) {
  std::string out;
  for (const char c : document.dump(-1, ' ', true, json::error_handler_t::replace)) out += c == '<' ? std::string("\\u003c") : std::string(1, c);
  return out;
}

// Cells of a row: a heading for narrow screens, a class, the content.
struct td {
  const char* label;
  const char* style;
  std::string content;
};

std::string table(const char* style, std::initializer_list<const char*> headings, const std::vector<std::vector<td>>& rows) {
  std::string out = std::string("<table class=\"") + style + "\"><thead><tr>";
  std::size_t i = 0;
  for (const char* h : headings) {
    const bool number = !rows.empty() && i < rows[0].size() && rows[0][i].style[0] == 'n';
    out += std::string("<th") + (number ? " class=\"n\"" : "") + ">" + h + "</th>";
    ++i;
  }
  out += "</tr></thead><tbody>\n";
  for (const auto& row : rows) {
    out += "<tr>";
    for (const auto& cell : row) out += std::string("<td class=\"") + cell.style + "\" data-label=\"" + cell.label + "\">" + cell.content + "</td>";
    out += "</tr>\n";
  }
  return out + "</tbody></table>\n";
}

std::string expectations_of(const json& r) {
  std::vector<std::vector<td>> rows;
  for (const auto& e : r.at("expectations")) {
    const std::string state = e.at("state");
    const char* mark = state == "pass" ? "<span class=\"mark pass\">PASS</span>" : state == "fail" ? "<span class=\"mark fail\">FAIL</span>" : "<span class=\"mark none\">not judged</span>";
    rows.push_back({{"", "state", mark},
                    {"when", "", escaped_at(e, "window")},
                    {"expected", "", "<code>" + escaped_at(e, "text") + "</code>" + (e.value("implied", false) ? " <span class=\"dim\">(always expected)</span>" : "")},
                    {"measured", "n strong", escaped_at(e, "measured_text")},
                    {"why", "dim", escaped_at(e, "reason")}});
  }
  return table("expectations", {"", "when", "expected", "measured", ""}, rows);
}

std::string windows_of(const json& probe) {
  std::vector<std::vector<td>> rows;
  for (const char* when : window_names) {
    const auto& w = probe.at(when);
    if (w.at("samples") == 0) continue;
    rows.push_back({{"when", "", when},
                    {"requests", "n", w.at("samples").dump()},
                    {"good", "n", shown(w.at("success_rate"), unit::share)},
                    {"per second", "n", shown(w.at("throughput_per_s"), unit::rate)},
                    {"p50", "n", shown(w.at("p50_ns"), unit::time)},
                    {"p95", "n", shown(w.at("p95_ns"), unit::time)},
                    {"p99", "n", shown(w.at("p99_ns"), unit::time)},
                    {"max", "n", shown(w.at("max_ns"), unit::time)},
                    {"answers", "dim", escaped(answers_of(w))}});
  }
  return table("windows", {"", "requests", "good", "good a second", "p50", "p95", "p99", "max", "answers"}, rows);
}

std::string faults_of(const json& r) {
  if (r.at("faults").empty()) return "";
  std::vector<std::vector<td>> rows;
  for (const auto& f : r.at("faults"))
    rows.push_back({{"name", "", escaped_at(f, "name")}, {"kind", "", escaped_at(f, "kind")}, {"target", "", "<code>" + escaped_at(f, "target") + "</code>"}, {"calls matched", "n", f.at("matched").dump()}, {"injections", "n", f.at("fired").dump()}});
  return "<section><h2>Faults</h2>\n" + table("faults", {"name", "kind", "target", "calls matched", "injections"}, rows) + "</section>\n";
}

std::string when_of(const json& r) {
  const std::time_t began = r.at("started_unix_ms").get<std::int64_t>() / 1000;
  std::tm parts{};
  gmtime_r(&began, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  double end_ms = 0;
  for (const auto& p : r.at("phases")) end_ms = std::max(end_ms, p.at("to_ms").get<double>());
  return std::string(text) + ", " + human(unit::time, end_ms * 1e6);
}

}  // namespace

std::string html_of(const json& r) {
  const std::string verdict = r.at("verdict");
  const char* colour = verdict == verdict_names[static_cast<int>(verdict::held)] ? "held" : verdict == verdict_names[static_cast<int>(verdict::failed)] ? "failed" : "other";
  std::string out = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>" + escaped_at(r, "name") + "</title>\n<style>";
  out.append(page::uplot_css).append("\n").append(page::report_css).append("</style></head><body>\n");
  out += "<header><h1>" + escaped_at(r, "name") + "</h1>\n<p class=\"hypothesis\">" + escaped_at(r, "hypothesis") + "</p>\n<div class=\"verdict " + colour + "\"><strong>" + escaped(headline_of(r)) + "</strong><span>" +
         escaped_at(r, "reason") + "</span></div>\n<p class=\"dim\">" + when_of(r) + (r.at("dry_run").get<bool>() ? ", dry run" : "") + "</p></header>\n";
  out += "<section><h2>Expectations</h2>\n" + expectations_of(r) + "</section>\n";
  out += "<section><h2>What happened when</h2>\n<div id=\"lanes\"></div></section>\n";
  std::size_t i = 0;
  for (const auto& p : r.at("probes"))
    out += "<section><h2>" + escaped_at(p, "name") + (p.value("load", false) ? " <span class=\"dim\">load</span>" : "") + "</h2>\n<div class=\"plots\" data-probe=\"" + std::to_string(i++) + "\"></div>\n" + windows_of(p) + "</section>\n";
  out += "<section id=\"machine\"></section>\n" + faults_of(r);
  if (!r.at("notes").empty()) {
    out += "<section><h2>Notes</h2>\n<ul>";
    for (const auto& n : r.at("notes")) out += "<li>" + escaped(n.get<std::string>()) + "</li>";
    out += "</ul></section>\n";
  }
  out += "<noscript><p>The plots need JavaScript; everything else is here.</p></noscript>\n<script type=\"application/json\" id=\"report\">" + script_safe(r) + "</script>\n<script>/*\n";
  out.append(page::uplot_licence).append("*/\n").append(page::uplot_js).append("\n</script>\n<script>\n").append(page::report_js).append("</script>\n</body></html>\n");
  return out;
}

}  // namespace chaos::experiment
