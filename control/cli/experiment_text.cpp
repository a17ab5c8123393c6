#include "experiment_text.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "control/experiment/report.hpp"

namespace chaos::cli {

namespace ex = chaos::experiment;

namespace {

std::string numbers_of(const json& report) {
  table numbers({"probe", "when", ">requests", ">good", ">p50", ">p95", ">p99", ">max", "answers"});
  for (const auto& p : report.at("probes"))
    for (const char* when : ex::window_names) {
      const auto& w = p.at(when);
      if (w.at("samples") == 0) continue;
      const auto time = [&](const char* key) { return ex::shown(w.at(key), ex::unit::time); };
      numbers.row({p.at("name"), when, w.at("samples").dump(), ex::shown(w.at("success_rate"), ex::unit::share), time("p50_ns"), time("p95_ns"), time("p99_ns"), time("max_ns"), ex::answers_of(w)});
    }
  return numbers.text();
}

ink colour_of(const json& report) {
  const std::string verdict = report.at("verdict");
  return verdict == ex::verdict_names[static_cast<int>(ex::verdict::held)] ? ink::green : verdict == ex::verdict_names[static_cast<int>(ex::verdict::failed)] ? ink::red : ink::yellow;
}

int columns() {
  winsize size{};
  return ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

// In characters: of UTF-8 every byte but continuations.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string cut(const std::string& text, std::size_t most) {
  std::size_t bytes = 0, seen = 0;
  while (bytes < text.size()) {
    if ((static_cast<unsigned char>(text[bytes]) & 0xC0) != 0x80 && seen++ == most) break;
    ++bytes;
  }
  return text.substr(0, bytes);
}

}  // namespace

std::string experiment_text(const json& report) {
  std::string out = paint(ink::bold, report.at("name").get<std::string>()) + (report.at("dry_run").get<bool>() ? " (dry run)" : "") + "\n" + report.at("hypothesis").get<std::string>() + "\n\n";
  out += numbers_of(report) + "\n";
  if (!report.at("faults").empty()) {
    table faults({"fault", "kind", "target", ">matched", ">fired"});
    for (const auto& f : report.at("faults")) faults.row({f.at("name"), f.at("kind"), f.at("target"), human_count(number(f, "matched")), human_count(number(f, "fired"))});
    out += faults.text() + "\n";
  }
  table findings({"", "when", "expected", ">measured", ""});
  for (const auto& e : report.at("expectations")) {
    const std::string state = e.at("state");
    findings.row({state == "pass" ? paint(ink::green, "PASS") : state == "fail" ? paint(ink::red, "FAIL") : paint(ink::dim, "-"), e.at("window"), e.at("text"), e.at("measured_text"), e.at("reason")});
  }
  if (!report.at("expectations").empty()) out += findings.text() + "\n";
  for (const auto& n : report.at("notes")) out += n.get<std::string>() + "\n";
  return out + paint(colour_of(report), ex::headline_of(report)) + ": " + report.at("reason").get<std::string>() + "\n";
}

progress_line::progress_line(const ex::plan& p) : plan_(p), terminal_(isatty(2) == 1) {}

void progress_line::phase(ex::phase what, const std::string& length) {
  if (!terminal_) note(std::string("· ") + ex::phase_names[static_cast<int>(what)] + (length.empty() ? "" : " (" + length + ")"));
}

void progress_line::show(const ex::live& now) {
  if (!terminal_) return;
  const double whole = std::max(1.0, static_cast<double>((plan_.baseline + plan_.observe + plan_.recover + plan_.after).count()));
  double done = 0;  // phases that may be shorter than planned count whole when they are over
  const std::pair<ex::phase, ex::nanoseconds> order[] = {{ex::phase::baseline, plan_.baseline}, {ex::phase::observe, plan_.observe}, {ex::phase::recover, plan_.recover}, {ex::phase::after, plan_.after}};
  for (const auto& [what, length] : order) {
    if (what < now.phase) done += static_cast<double>(length.count());
    else if (what == now.phase) done += static_cast<double>(std::min(now.in_phase, length).count());
  }
  constexpr int cells = 12;
  const int full = static_cast<int>(std::lround(std::min(1.0, done / whole) * cells));
  std::string bar;
  for (int i = 0; i < cells; ++i) bar += i < full ? "█" : "░";
  const auto seconds = [](ex::nanoseconds t) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", std::chrono::duration<double>(t).count());
    return std::string(text);
  };
  std::string text = bar + " " + ex::phase_names[static_cast<int>(now.phase)] + " " + seconds(now.in_phase) + (now.of_phase.count() ? "/" + seconds(now.of_phase) : "") + " s";
  const auto& l = now.lately;
  if (l.samples)
    text += " · " + std::to_string(l.samples) + "/s · errors " + ex::human(ex::unit::share, 1 - l.success_rate()) + " · p95 " + ex::human(ex::unit::time, l.p95_ns);
  if (now.fired) text += " · fired " + human_count(now.fired);
  if (!now.breakers.empty()) text += " · " + now.breakers;
  const auto room = static_cast<std::size_t>(std::max(20, columns() - 1));
  if (width_of(text) > room) text = cut(text, room);
  const std::string all = "\r\033[K" + text;
  static_cast<void>(!write(2, all.data(), all.size()));
  shown_ = true;
}

void progress_line::clear() {
  if (!shown_) return;
  static_cast<void>(!write(2, "\r\033[K", 4));
  shown_ = false;
}

}  // namespace chaos::cli
