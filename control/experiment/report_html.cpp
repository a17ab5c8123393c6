// One page that needs nothing else: tables, and a plot of each probe as SVG with the time of the faults as a band.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "outcome.hpp"

namespace chaos::experiment {

namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
  return out;
}

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", v);
  return text;
}

constexpr double width = 900, left = 70, right = 16, plot = width - left - right;

constexpr const char* style = R"(body{font:15px/1.45 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#1c1e21;background:#fff}
h1{margin-bottom:.2em}h2{margin-top:1.6em}.hypothesis{font-size:1.1em;color:#444}
.verdict{padding:.6em 1em;border-radius:6px;font-weight:600;color:#fff;margin:1em 0}
.held{background:#1a7f37}.failed{background:#c0272d}.other{background:#8a6500}
table{border-collapse:collapse;width:100%;margin:.5em 0}th,td{text-align:left;padding:.3em .7em .3em 0;border-bottom:1px solid #ddd;vertical-align:top}
th{font-weight:600;color:#555}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.pass{color:#1a7f37;font-weight:600}.fail{color:#c0272d;font-weight:600}.dim{color:#777}
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:#555}code{background:#f2f3f5;padding:0 .3em;border-radius:3px}
)";

// A logarithmic axis of times, which is what latencies need; success below it, linear.
std::string plot_of(const outcome& o, const probe_outcome& p) {
  const auto slices = slices_of(o, p);
  if (slices.empty()) return "";
  const double end = static_cast<double>(slices.back().to_ns);
  double low = INFINITY, high = 0;
  for (const auto& s : slices) {
    if (!s.numbers.samples) continue;
    low = std::min(low, s.numbers.p50_ns);
    high = std::max(high, s.numbers.p95_ns);
  }
  if (!(high > 0)) return "";
  const double floor_log = std::floor(std::log10(std::max(low, 1e3))), top_log = std::max(floor_log + 1, std::ceil(std::log10(high)));
  constexpr double latency_top = 24, latency_height = 170, success_top = 224, success_height = 60;
  const auto x = [&](double ns) { return left + plot * ns / end; };
  const auto y = [&](double ns) { return latency_top + latency_height * (1 - (std::log10(std::max(ns, 1e3)) - floor_log) / (top_log - floor_log)); };
  std::string out = "<svg viewBox=\"0 0 " + number(width) + " 320\" role=\"img\" aria-label=\"latency and success of " + escaped(p.name) + " over time\">\n";
  for (const auto& s : o.phases) {
    const double from = x(static_cast<double>(s.from_ns)), wide = x(static_cast<double>(s.to_ns)) - from;
    if (wide < 2) continue;
    const bool fault = s.what == phase::observe;
    out += "<rect x=\"" + number(from) + "\" y=\"" + number(latency_top) + "\" width=\"" + number(wide) + "\" height=\"" + number(success_top + success_height - latency_top) + "\" fill=\"" +
           (fault ? "#fde3e1" : s.what == phase::recover ? "#fff4d6" : "#f4f7fa") + "\"/>";
    if (wide > 36) out += "<text x=\"" + number(from + 4) + "\" y=\"16\">" + (fault ? "faults" : phase_names[static_cast<int>(s.what)]) + "</text>\n";
  }
  for (double log = floor_log; log <= top_log + 0.01; ++log) {
    const double at = y(std::pow(10, log));
    out += "<line x1=\"" + number(left) + "\" x2=\"" + number(width - right) + "\" y1=\"" + number(at) + "\" y2=\"" + number(at) + "\" stroke=\"#d5d9de\"/><text x=\"" + number(left - 6) + "\" y=\"" +
           number(at + 4) + "\" text-anchor=\"end\">" + human(unit::time, std::pow(10, log)) + "</text>\n";
  }
  for (const double share : {0.0, 1.0}) {
    const double at = success_top + success_height * (1 - share);
    out += "<line x1=\"" + number(left) + "\" x2=\"" + number(width - right) + "\" y1=\"" + number(at) + "\" y2=\"" + number(at) + "\" stroke=\"#d5d9de\"/><text x=\"" + number(left - 6) + "\" y=\"" +
           number(at + 4) + "\" text-anchor=\"end\">" + (share > 0 ? "100% good" : "0%") + "</text>\n";
  }
  const auto line = [&](auto value, const char* colour) {
    std::string path;
    bool pen = false;
    for (const auto& s : slices) {
      if (!s.numbers.samples) {
        pen = false;
        continue;
      }
      path += (pen ? " L" : " M") + number(x(static_cast<double>(s.from_ns + s.to_ns) / 2)) + "," + number(value(s.numbers));
      pen = true;
    }
    out += "<path d=\"" + path + "\" fill=\"none\" stroke=\"" + colour + "\" stroke-width=\"2\" stroke-linejoin=\"round\"/>\n";
  };
  line([&](const statistics& s) { return y(s.p95_ns); }, "#b35900");
  line([&](const statistics& s) { return y(s.p50_ns); }, "#1f6feb");
  line([&](const statistics& s) { return success_top + success_height * (1 - s.success_rate()); }, "#1a7f37");
  const double seconds = end / 1e9, step = seconds > 120 ? 30 : seconds > 40 ? 10 : seconds > 12 ? 5 : 1;
  for (double t = 0; t <= seconds; t += step)
    out += "<text x=\"" + number(x(t * 1e9)) + "\" y=\"300\" text-anchor=\"middle\">" + number(t) + " s</text>";
  out += "\n<text x=\"" + number(width - right) + "\" y=\"316\" text-anchor=\"end\"><tspan fill=\"#1f6feb\">p50</tspan> · <tspan fill=\"#b35900\">p95</tspan> · <tspan fill=\"#1a7f37\">good answers</tspan></text></svg>\n";
  return out;
}

std::string row(std::initializer_list<std::string> cells, const char* tag = "td", std::size_t numbers_from = 99, std::size_t numbers_to = 99) {
  std::string out = "<tr>";
  std::size_t i = 0;
  for (const auto& c : cells) {
    out += std::string("<") + tag + (i >= numbers_from && i < numbers_to ? " class=\"n\">" : ">") + c + "</" + tag + ">";
    ++i;
  }
  return out + "</tr>\n";
}

}  // namespace

std::string html_of(const outcome& o) {
  const bool held = o.verdict == verdict::held, failed = o.verdict == verdict::failed;
  std::string out = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>" + escaped(o.name) + "</title><style>" + style +
                    "</style></head><body>\n<h1>" + escaped(o.name) + "</h1>\n<p class=\"hypothesis\">" + escaped(o.hypothesis) + "</p>\n<div class=\"verdict " + (held ? "held" : failed ? "failed" : "other") + "\">" +
                    (held ? "PASS: the hypothesis held" : failed ? "FAIL: the hypothesis failed" : escaped(verdict_names[static_cast<int>(o.verdict)])) + " (" + escaped(o.reason) + ")</div>\n";
  out += "<h2>Expectations</h2>\n<table>" + row({"", "when", "expected", "measured", ""}, "th", 3, 4);
  for (const auto& f : o.findings)
    out += row({f.state == finding_state::pass ? "<span class=\"pass\">PASS</span>" : f.state == finding_state::fail ? "<span class=\"fail\">FAIL</span>" : "<span class=\"dim\">not judged</span>",
                window_text(f), "<code>" + escaped(f.expected.text) + "</code>", escaped(measured_text(f)), "<span class=\"dim\">" + escaped(f.reason) + "</span>"}, "td", 3, 4);
  out += "</table>\n";
  for (const auto& p : o.probes) {
    out += "<h2>" + escaped(p.name) + "</h2>\n" + plot_of(o, p) + "<table>" + row({"", "requests", "good", "p50", "p95", "p99", "max", "answers"}, "th", 1, 7);
    for (int w = 0; w < 3; ++w) {
      const auto& s = p.windows[w];
      if (!s.samples) continue;
      std::string answers;
      for (const auto& [what, n] : s.answers) answers += (answers.empty() ? "" : ", ") + escaped(what) + ": " + std::to_string(n);
      out += row({window_names[w], std::to_string(s.samples), human(unit::share, s.success_rate()), human(unit::time, s.p50_ns), human(unit::time, s.p95_ns), human(unit::time, s.p99_ns),
                  human(unit::time, s.max_ns), answers}, "td", 1, 7);
    }
    out += "</table>\n";
  }
  out += "<h2>Faults</h2>\n<table>" + row({"name", "kind", "target", "matched", "fired"}, "th", 3, 5);
  for (const auto& f : o.faults) out += row({escaped(f.name), escaped(f.kind), escaped(f.target), std::to_string(f.matched), std::to_string(f.fired)}, "td", 3, 5);
  out += "</table>\n";
  for (const auto& n : o.notes) out += "<p class=\"dim\">" + escaped(n) + "</p>\n";
  return out + "</body></html>\n";
}

}  // namespace chaos::experiment
