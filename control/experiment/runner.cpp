#include "runner.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>

#include "control/rules/values.hpp"
#include "prober.hpp"

namespace chaos::experiment {

namespace {

using rules::option;

constexpr auto look_every = std::chrono::milliseconds(250);
constexpr auto step = std::chrono::milliseconds(10);
constexpr auto spare_life = std::chrono::seconds(60);  // of a rule, beyond the time that it is meant for

struct stopped {
  verdict what;
  std::string reason;
};

class remover {  // the faults go, however we leave
 public:
  remover(fault_port& faults, outcome& o) : faults_(faults), o_(o) {}
  ~remover() { now(); }
  void arm() { armed_ = true; }
  void now() {
    if (!armed_) return;
    armed_ = false;
    if (const auto gone = faults_.remove(); !gone)
      o_.notes.push_back("the faults could not be removed (" + gone.error().message + "); they end with this process, or with chaosd's lease");
  }

 private:
  fault_port& faults_;
  outcome& o_;
  bool armed_ = false;
};

class running {
 public:
  running(const plan& p, fault_port& faults, const manner& how, outcome& o) : plan_(p), faults_(faults), how_(how), out_(o), cleaner_(faults, o), began_(steady::now()) {
    for (const auto& one : p.probes) probers_.push_back(std::make_unique<prober>(one, began_));
  }

  void all() {
    enter(phase::baseline, rules::format_duration(static_cast<std::uint64_t>(plan_.baseline.count())));
    wait(plan_.baseline, false);
    leave();
    collect(probers_longest_wait());  // the last answers of the baseline
    if (!judge_baseline(plan_, out_)) throw stopped{verdict::not_run, "the steady state is broken already, so nothing was injected"};
    inject();
    enter(phase::observe, rules::format_duration(static_cast<std::uint64_t>(plan_.observe.count())));
    wait(plan_.observe, true);
    look();
    leave();
    enter(phase::clean_up, "");
    cleaner_.now();
    look();
    leave();
    recover();
    if (plan_.after.count() > 0 && recovered_) {
      enter(phase::after, rules::format_duration(static_cast<std::uint64_t>(plan_.after.count())));
      wait(plan_.after, false);
      leave();
    }
    enter(phase::analyse, "");
  }

  void finish() noexcept {
    cleaner_.now();
    if (open_) leave();
    for (auto& p : probers_) p->stop();
    for (auto& p : probers_) p->join();
    collect({});
  }

 private:
  std::int64_t now_ns() const { return (steady::now() - began_).count(); }

  void enter(phase what, const std::string& length) {
    out_.phases.push_back({what, now_ns(), now_ns()});
    open_ = true;
    if (how_.registry) how_.registry->enter(what);
    how_.tell(what, length);
  }
  void leave() {
    out_.phases.back().to_ns = now_ns();
    open_ = false;
  }

  void check_signal() const {
    const int s = how_.signal ? how_.signal->load() : 0;
    if (s) throw stopped{verdict::aborted, std::string("stopped by ") + (s == SIGINT ? "SIGINT" : s == SIGTERM ? "SIGTERM" : "signal " + std::to_string(s))};
    if (const auto why = how_.registry ? how_.registry->stop_asked() : ""; !why.empty()) throw stopped{verdict::aborted, why};
  }

  void wait(nanoseconds length, bool watch_faults) {
    auto end = steady::now() + length;
    nanoseconds paused{0};
    auto next_look = steady::now();
    for (;;) {
      check_signal();
      const auto now = steady::now();
      if (now >= end) break;
      if (watch_faults && now >= next_look) {
        look_for_early_end();
        next_look = now + look_every;
      }
      std::this_thread::sleep_for(std::min<nanoseconds>(step, end - now));
      if (how_.registry && how_.registry->paused()) {
        const auto lost = steady::now() - now;
        end += lost;
        paused += lost;
      }
    }
    if (paused.count())
      out_.notes.push_back(std::string("paused for ") + rules::format_duration(static_cast<std::uint64_t>(paused.count() / 1'000'000 * 1'000'000)) + " while it was in " + phase_names[static_cast<int>(out_.phases.back().what)] +
                           ": the phase took that much longer, and its figures include it");
  }

  // Baseline requests that are still under way get the time to end, at most a second: their samples count.
  nanoseconds probers_longest_wait() const {
    nanoseconds longest{0};
    for (const auto& p : plan_.probes) longest = std::max(longest, p.timeout);
    return std::min<nanoseconds>(longest, std::chrono::seconds(1));
  }

  void collect(nanoseconds patience) {
    const auto* base = out_.find(phase::baseline);
    const auto end = steady::now() + patience;
    out_.probes.resize(plan_.probes.size());
    for (std::size_t i = 0; i < probers_.size(); ++i) {
      auto& into = out_.probes[i];
      into.name = plan_.probes[i].name;
      const auto due = base ? static_cast<std::uint64_t>((base->to_ns + plan_.probes[i].interval.count() - 1) / plan_.probes[i].interval.count()) : 0;
      for (;;) {
        into.samples = probers_[i]->samples();
        if (patience.count() == 0 || between(into.samples, 0, base->to_ns).size() >= due || steady::now() >= end) break;
        check_signal();
        std::this_thread::sleep_for(step);
      }
      number(into);
    }
  }

  void number(probe_outcome& into) const {
    const auto count = [&](window w, phase what) {
      const auto* span = out_.find(what);
      if (!span) return void(into.windows[static_cast<int>(w)] = statistics_of({}, 0));
      into.windows[static_cast<int>(w)] = statistics_of(between(into.samples, span->from_ns, span->to_ns), static_cast<double>(span->to_ns - span->from_ns) / 1e9);
    };
    count(window::baseline, phase::baseline);
    count(window::during, phase::observe);
    count(window::after, phase::after);
  }

  void inject() {
    enter(phase::inject, "");
    auto specs = plan_.faults;
    for (auto& spec : specs) {
      spec.options[option::owner_] = std::to_string(getpid());
      if (!spec.has(option::for_)) spec.options[option::for_] = rules::format_duration(static_cast<std::uint64_t>((plan_.observe + spare_life).count()));
      else limited_.push_back(spec.get(option::name_));
      if (how_.dry_run) spec.options[option::dry_run_] = "true";
    }
    check_signal();
    cleaner_.arm();  // before: an answer that is lost may still have been an injection
    auto made = faults_.inject(specs, out_.notes);
    if (!made) throw stopped{verdict::not_run, "the faults could not be put in force: " + made.error().message};
    out_.faults = std::move(*made);
    leave();
  }

  void look() {
    auto states = faults_.look();
    if (states && !states->empty()) out_.faults = std::move(*states);
    else if (!states) throw stopped{verdict::aborted, "chaosd can not be asked any more: " + states.error().message};
  }

  void look_for_early_end() {
    look();
    for (const auto& f : out_.faults) {
      const bool may = std::find(limited_.begin(), limited_.end(), f.name) != limited_.end();
      if (f.ended && !may) throw stopped{verdict::aborted, "the fault " + f.name + " was ended from outside (" + f.ended_reason + ")"};
    }
  }

  void recover() {
    const std::int64_t from = out_.phases.back().to_ns;
    enter(phase::recover, "at most " + rules::format_duration(static_cast<std::uint64_t>(plan_.recover.count())));
    const auto end = steady::now() + plan_.recover;
    do {
      check_signal();
      std::this_thread::sleep_for(step);
      recovered_ = true;
      for (std::size_t i = 0; i < probers_.size(); ++i) {
        auto& p = out_.probes[i];
        if (p.recovery_ns >= 0) continue;
        const auto at = recovered_at(probers_[i]->samples(), from, plan_.healthy);
        if (at >= 0) p.recovery_ns = std::max<std::int64_t>(0, at - from);
        else recovered_ = false;
      }
    } while (!recovered_ && steady::now() < end);
    leave();
  }

  const plan& plan_;
  fault_port& faults_;
  const manner& how_;
  outcome& out_;
  remover cleaner_;
  const steady::time_point began_;
  std::vector<std::unique_ptr<prober>> probers_;
  std::vector<std::string> limited_;  // faults with a life of their own
  bool recovered_ = false, open_ = false;
};

}  // namespace

outcome run(const plan& p, fault_port& faults, const manner& how) {
  outcome o;
  o.name = p.name;
  o.hypothesis = p.hypothesis;
  o.dry_run = how.dry_run;
  o.started_unix_ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  bool complete = false;
  try {
    running r(p, faults, how, o);
    try {
      r.all();
      complete = true;
    } catch (const stopped& s) {
      o.verdict = s.what;
      o.reason = s.reason;
    } catch (const std::exception& e) {
      o.verdict = verdict::aborted;
      o.reason = std::string("an error of chaos-ctl itself: ") + e.what();
    }
    r.finish();
  } catch (const std::exception& e) {
    o.verdict = verdict::not_run;
    o.reason = std::string("the probes could not be started: ") + e.what();
  }
  if (complete) judge(p, o);
  return o;
}

}  // namespace chaos::experiment
