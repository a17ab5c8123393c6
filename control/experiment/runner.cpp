#include "runner.hpp"

#include <algorithm>
#include <csignal>
#include <map>

#include "breaker_log.hpp"
#include "control/rules/values.hpp"
#include "injector.hpp"
#include "observer.hpp"

namespace chaos::experiment {

namespace {

constexpr auto look_every = std::chrono::milliseconds(250);
constexpr auto show_every = std::chrono::milliseconds(200);
constexpr auto step = std::chrono::milliseconds(10);
constexpr auto abort_every = std::chrono::milliseconds(50);

std::string text_of(nanoseconds length) { return rules::format_duration(static_cast<std::uint64_t>(length.count())); }

class running {
 public:
  running(const plan& p, session& s, const manner& how, outcome& o) : plan_(p), how_(how), out_(o), began_(steady::now()), observer_(p, s, o, began_), injector_(p, s, o, how.dry_run) {}

  void all() {
    enter(phase::baseline, plan_.baseline, "");
    wait(plan_.baseline, false);
    leave();
    observer_.collect(out_.phases.back().to_ns, longest_answer(), [this] { pause(); });
    if (!judge_baseline(plan_, out_)) throw stopped{verdict::not_run, "the steady state is broken already, so nothing was injected"};
    inject();
    enter(phase::observe, plan_.observe, "");
    wait(plan_.observe, true);
    injector_.look(now_ns());
    leave();
    enter(phase::clean_up, nanoseconds(0), "");
    injector_.look(now_ns());
    injector_.remove(now_ns());
    leave();
    recover();
    if (plan_.after.count() > 0 && recovered_) {
      enter(phase::after, plan_.after, "");
      wait(plan_.after, false);
      leave();
    }
    enter(phase::analyse, nanoseconds(0), "");
  }

  void finish() noexcept {
    injector_.remove(now_ns());
    if (open_) leave();
    observer_.finish();
    for (const auto& b : breaker_bands(out_, out_.phases.back().to_ns)) out_.bands.push_back(b);
  }

 private:
  std::int64_t now_ns() const { return (steady::now() - began_).count(); }

  void enter(phase what, nanoseconds length, const std::string& text) {
    out_.phases.push_back({what, now_ns(), now_ns()});
    open_ = true;
    length_ = length;
    if (how_.registry) how_.registry->enter(what);
    how_.tell(what, !text.empty() ? text : length.count() ? text_of(length) : "");
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

  // One moment: what is always to be done.
  void pause() {
    check_signal();
    observer_.tick(now_ns());
    show();
    std::this_thread::sleep_for(step);
  }

  void wait(nanoseconds length, bool injected) {
    auto end = steady::now() + length;
    nanoseconds paused{0};
    auto next_look = steady::now(), next_abort = next_look;
    for (auto now = steady::now(); now < end; now = steady::now()) {
      if (injected) {
        injector_.advance(now_ns());
        if (now >= next_look) injector_.look(now_ns()), next_look = now + look_every;
        if (now >= next_abort) check_aborts(), next_abort = now + abort_every;
      }
      pause();
      if (!how_.registry || !how_.registry->paused()) continue;
      const auto lost = steady::now() - now;
      end += lost;
      paused += lost;
      injector_.postpone(lost);
    }
    check_signal();
    if (paused.count())
      out_.notes.push_back("paused for " + rules::format_duration(static_cast<std::uint64_t>(paused.count() / 1'000'000 * 1'000'000)) + " while it was in " + phase_names[static_cast<int>(out_.phases.back().what)] +
                           ": the phase took that much longer, and its figures include it");
  }

  void check_aborts() const {
    if (const auto why = observer_.abort_reason(now_ns()); !why.empty()) throw stopped{verdict::aborted, "a condition of [abort] was met: " + why};
  }

  // Baseline requests that are still under way get the time to end, at most a second: their samples count.
  nanoseconds longest_answer() const {
    nanoseconds longest{0};
    for (const auto& p : plan_.probes) longest = std::max(longest, p.timeout);
    return std::min<nanoseconds>(longest, std::chrono::seconds(1));
  }

  void inject() {
    enter(phase::inject, nanoseconds(0), "");
    check_signal();
    observer_.arm();
    injector_.begin(now_ns());
    leave();
  }

  void recover() {
    const std::int64_t from = out_.phases.back().to_ns;
    enter(phase::recover, plan_.recover, "at most " + text_of(plan_.recover));
    const auto end = steady::now() + plan_.recover;
    do {
      pause();
      recovered_ = observer_.recovered(from);
    } while (!recovered_ && steady::now() < end);
    leave();
  }

  void show() {
    if ((!how_.show && !how_.registry) || steady::now() < next_show_) return;
    next_show_ = steady::now() + show_every;
    live l;
    l.phase = out_.phases.back().what;
    l.in_phase = nanoseconds(now_ns() - out_.phases.back().from_ns);
    l.of_phase = length_;
    l.lately = observer_.lately(now_ns());
    for (const auto& f : out_.faults) l.fired += f.fired;
    std::map<std::string, std::string> states;
    for (const auto& t : out_.transitions) states[t.breaker] = t.to;
    for (const auto& [name, state] : states) l.breakers += (l.breakers.empty() ? "" : ", ") + name + " " + state;
    if (how_.show) how_.show(l);
    if (how_.registry)
      how_.registry->tell({{"requests_per_s", l.lately.samples}, {"error_rate", l.lately.samples ? human(unit::share, 1 - l.lately.success_rate()) : "-"},
                           {"p95", human(unit::time, l.lately.p95_ns)}, {"fired", l.fired}, {"breakers", l.breakers}});
  }

  const plan& plan_;
  const manner& how_;
  outcome& out_;
  const steady::time_point began_;
  observer observer_;
  injector injector_;
  steady::time_point next_show_{};
  nanoseconds length_{0};
  bool recovered_ = false, open_ = false;
};

}  // namespace

outcome run(const plan& p, session& s, const manner& how) {
  outcome o;
  o.name = p.name;
  o.hypothesis = p.hypothesis;
  o.dry_run = how.dry_run;
  o.started_unix_ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  bool complete = false;
  try {
    running r(p, s, how, o);
    try {
      r.all();
      complete = true;
    } catch (const stopped& why) {
      o.verdict = why.verdict;
      o.reason = why.reason;
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
