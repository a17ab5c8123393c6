// What an experiment showed: everything that a report can tell.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "plan.hpp"
#include "statistics.hpp"

namespace chaos::experiment {

enum class verdict { held, failed, not_run, aborted, dry_run };
inline constexpr const char* verdict_names[] = {"held", "failed", "not run", "aborted", "dry run"};

enum class phase { baseline, inject, observe, clean_up, recover, after, analyse };
inline constexpr const char* phase_names[] = {"baseline", "inject", "observe", "clean up", "recover", "after", "analyse"};

struct phase_span {
  phase what;
  std::int64_t from_ns, to_ns;  // since the experiment began
};

struct fault_state {
  std::uint64_t id = 0;
  std::string name, kind, target;
  std::uint64_t matched = 0, fired = 0, delayed_ns = 0;
  bool ended = false;
  std::string ended_reason;
};

// A line of the timeline, as far as experiments look at it.
struct timeline_event {
  std::int64_t time_ns = 0;  // CLOCK_MONOTONIC
  int pid = 0;               // 0: of several
  std::string kind, category, text, rule;
  std::uint64_t count = 1;
  std::string line;
};

// Times below are since the experiment began.
struct transition {  // of a circuit breaker
  std::int64_t at_ns;
  int pid;
  std::string breaker, from, to, reason;
  std::uint64_t failures = 0;  // that made it open
};

struct call {  // that a fault met
  std::int64_t at_ns;
  int pid;
  std::string fault;
  std::uint64_t count;
};

struct band {  // something that was so for a while
  std::string of;  // fault, stress, breaker
  std::string name, text;
  std::int64_t from_ns, to_ns = -1;  // -1: still
};

struct usage {
  std::int64_t at_ns;
  double cpu, memory;  // shares of the machine
};

struct end_of_process {
  std::int64_t at_ns;
  int pid;
};

struct process_outcome {
  std::string name;  // "": the machine; its `ended` are the processes attached to the session
  std::vector<usage> usages;
  std::vector<end_of_process> ended;
};

enum class finding_state { pass, fail, not_judged };

struct finding {
  expectation expected;
  finding_state state = finding_state::not_judged;
  double measured;       // NaN: there was nothing to measure; infinity: it never came
  std::string reason;    // why it failed, when the numbers alone do not say it
};

struct probe_outcome {
  std::string name;
  bool load = false, counts_for_recovery = true;
  statistics windows[3];          // by window
  std::int64_t recovery_ns = -1;  // since the faults ended; -1: not within the time
  std::vector<sample> samples;
};

struct outcome {
  std::string name, hypothesis;
  experiment::verdict verdict = verdict::not_run;
  std::string reason;  // one sentence
  bool dry_run = false;
  std::int64_t started_unix_ms = 0;
  std::vector<phase_span> phases;
  std::vector<probe_outcome> probes;
  std::vector<fault_state> faults;
  std::vector<transition> transitions;
  std::vector<call> calls;
  std::vector<band> bands;
  std::vector<process_outcome> processes;
  std::vector<finding> findings;
  std::vector<std::string> notes;  // warnings of the rules, what was cleaned up
  const phase_span* find(phase p) const {
    for (const auto& s : phases)
      if (s.what == p) return &s;
    return nullptr;
  }
};

// From the injection to the end of the faults, and from it to the end of everything. Empty without an injection.
struct interval {
  std::int64_t from_ns = 0, to_ns = 0;
};
interval under_faults(const outcome& o);
interval since_injection(const outcome& o);

// Fills findings, and verdict and reason unless the run was refused or aborted.
void judge(const plan& p, outcome& o);
// The baseline alone: false when the steady state is broken; findings are filled.
bool judge_baseline(const plan& p, outcome& o);
// Of these samples alone: NaN for what compares with the baseline or is no number of samples.
double measure(const expectation& e, const probe_plan& p, std::span<const sample> some, const statistics& numbers);

std::string window_text(const finding& f);    // "baseline", "during", "after"
std::string measured_text(const finding& f);  // "99.2%", "nothing", "never"

// Equal slices of the whole experiment, for plots.
struct slice {
  std::int64_t from_ns, to_ns;
  statistics numbers;
};
std::vector<slice> slices_of(const outcome& o, const probe_outcome& p, unsigned most = 240);

}  // namespace chaos::experiment
