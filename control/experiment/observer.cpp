#include "observer.hpp"

#include <algorithm>
#include <cmath>

#include "breaker_log.hpp"
#include "control/rules/values.hpp"

namespace chaos::experiment {

namespace {

constexpr std::int64_t look_every_ns = 250'000'000;
constexpr std::uint64_t abort_samples_min = 5;  // fewer requests are no reason to stop
constexpr std::size_t calls_max = 1'000'000;

}  // namespace

observer::observer(const plan& p, session& s, outcome& o, steady::time_point began) : plan_(p), session_(s), out_(o), began_(began), processes_(p) {
  out_.probes.resize(p.probes.size());
  for (const auto& c : p.commands) commands_.push_back(std::make_unique<background>(std::vector<std::string>{"/bin/sh", "-c", c.command}));
  for (std::size_t i = 0; i < p.probes.size(); ++i) {
    out_.probes[i].name = p.probes[i].name;
    out_.probes[i].load = p.probes[i].load;
    out_.probes[i].counts_for_recovery = p.probes[i].counts_for_recovery();
    probers_.push_back(std::make_unique<prober>(p.probes[i], began_, surroundings{&s, &lines_}));
  }
}

void observer::take_events() {
  std::vector<timeline_event> fresh;
  session_.read_events(fresh);
  for (auto& e : fresh) {
    if (auto t = transition_of(e, began_.time_since_epoch().count()))
      if (t->at_ns >= 0) out_.transitions.push_back(std::move(*t));
    if (e.kind == "injection" && !e.rule.empty() && out_.calls.size() < calls_max)
      out_.calls.push_back({e.time_ns - began_.time_since_epoch().count(), e.pid, e.rule, e.count});
    if (!e.line.empty()) lines_.add(std::move(e.line));
  }
}

void observer::tick(std::int64_t now_ns) {
  take_events();
  if (now_ns < next_look_ns_) return;
  next_look_ns_ = now_ns + look_every_ns;
  processes_.look(now_ns);
  for (std::size_t i = 0; i < commands_.size(); ++i)
    if (commands_[i] && !commands_[i]->running()) {
      const int status = commands_[i]->status();
      out_.notes.push_back("[load " + plan_.commands[i].name + "] ended by itself, with status " + std::to_string(status));
      commands_[i].reset();
    }
}

void observer::arm() {
  const auto attached = session_.attached();
  processes_.arm(attached ? *attached : std::vector<int>());
  armed_ns_ = (steady::now() - began_).count();
}

void observer::finish() noexcept {
  if (finished_) return;
  finished_ = true;
  for (auto& p : probers_) p->stop();
  for (auto& p : probers_) p->join();
  take_events();
  processes_.look((steady::now() - began_).count());
  out_.processes = processes_.seen();
  std::vector<std::string> ended;
  for (std::size_t i = 0; i < commands_.size(); ++i) {
    if (!commands_[i]) continue;
    commands_[i].reset();
    out_.notes.push_back("clean-up: ended load " + plan_.commands[i].name);
  }
  for (std::size_t i = 0; i < probers_.size(); ++i) out_.probes[i].samples = probers_[i]->samples();
  number();
}

void observer::collect(std::int64_t until_ns, nanoseconds patience, const std::function<void()>& meanwhile) {
  const auto end = steady::now() + patience;
  for (std::size_t i = 0; i < probers_.size(); ++i) {
    const std::int64_t interval = plan_.probes[i].interval.count();
    const auto due = static_cast<std::uint64_t>((until_ns + interval - 1) / interval);
    while (probers_[i]->ended() < due && steady::now() < end) meanwhile();
    out_.probes[i].samples = probers_[i]->samples();
  }
  out_.processes = processes_.seen();
  number();
}

void observer::number() {
  for (auto& p : out_.probes) {
    const auto count = [&](window w, phase what) {
      const auto* span = out_.find(what);
      if (!span) return void(p.windows[static_cast<int>(w)] = statistics_of({}, 0));
      p.windows[static_cast<int>(w)] = statistics_of(between(p.samples, span->from_ns, span->to_ns), static_cast<double>(span->to_ns - span->from_ns) / 1e9);
    };
    count(window::baseline, phase::baseline);
    count(window::during, phase::observe);
    count(window::after, phase::after);
  }
}

bool observer::recovered(std::int64_t from_ns) {
  bool all = true;
  for (std::size_t i = 0; i < probers_.size(); ++i) {
    auto& p = out_.probes[i];
    if (p.recovery_ns >= 0 || !p.counts_for_recovery) continue;
    const auto at = recovered_at(probers_[i]->recent(from_ns), from_ns, plan_.healthy);
    if (at >= 0) p.recovery_ns = std::max<std::int64_t>(0, at - from_ns);
    else all = false;
  }
  return all;
}

double observer::measured_now(const expectation& e, std::int64_t now_ns) const {
  const std::int64_t over = plan_.abort_over.count(), from = std::max(now_ns - over, armed_ns_);
  switch (e.what) {
    case metric::cpu:
    case metric::memory: {
      if (now_ns - armed_ns_ < over) return nothing;
      const auto p = std::ranges::find(processes_.seen(), e.argument, &process_outcome::name);
      const usage u = p == processes_.seen().end() ? usage{0, nothing, nothing} : process_watch::between(*p, from, now_ns);
      return e.what == metric::cpu ? u.cpu : u.memory;
    }
    case metric::no_crash: return static_cast<double>(processes_.crashes(e.argument));
    case metric::no_hang: {
      double n = 0;
      for (const auto& p : probers_) n += static_cast<double>(std::ranges::count_if(p->recent(from), &sample::timed_out));
      return n;
    }
    default: break;
  }
  for (const auto& p : probers_) {
    if (p->plan().name != e.probe) continue;
    const auto some = p->recent(from);
    if (some.size() < abort_samples_min && info_of(e.what).unit != unit::count) return nothing;
    if (e.what == metric::throughput && now_ns - armed_ns_ < over) return nothing;
    return measure(e, p->plan(), some, statistics_of(some, static_cast<double>(now_ns - from) / 1e9));
  }
  return nothing;
}

std::string observer::abort_reason(std::int64_t now_ns) const {
  if (armed_ns_ < 0) return "";
  for (const auto& e : plan_.aborts) {
    const double now = measured_now(e, now_ns);
    if (std::isnan(now)) continue;
    const auto& m = info_of(e.what);
    const bool met = m.form == form::none ? now > 0 : e.holds(now);
    if (met) return e.text + " (measured " + human(m.unit, now) + " over the last " + rules::format_duration(static_cast<std::uint64_t>(plan_.abort_over.count())) + ")";
  }
  return "";
}

statistics observer::lately(std::int64_t now_ns) const {
  std::vector<sample> all;
  for (const auto& p : probers_) {
    const auto some = p->recent(now_ns - 1'000'000'000);
    all.insert(all.end(), some.begin(), some.end());
  }
  return statistics_of(all, 1);
}

}  // namespace chaos::experiment
