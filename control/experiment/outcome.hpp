// What an experiment showed: everything that a report can tell.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
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

enum class finding_state { pass, fail, not_judged };

struct finding {
  expectation expected;
  finding_state state = finding_state::not_judged;
  double measured;       // NaN: there was nothing to measure; infinity: it never came
  std::string reason;    // why it failed, when the numbers alone do not say it
};

struct probe_outcome {
  std::string name;
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
  std::vector<finding> findings;
  std::vector<std::string> notes;  // warnings of the rules, what was cleaned up
  const phase_span* find(phase p) const {
    for (const auto& s : phases)
      if (s.what == p) return &s;
    return nullptr;
  }
};

// Fills findings, and verdict and reason unless the run was refused or aborted.
void judge(const plan& p, outcome& o);
// The baseline alone: false when the steady state is broken; findings are filled.
bool judge_baseline(const plan& p, outcome& o);

std::string window_text(const finding& f);    // "baseline", "during", "after"
std::string measured_text(const finding& f);  // "99.2%", "nothing", "never"

// Equal slices of the whole experiment, for plots.
struct slice {
  std::int64_t from_ns, to_ns;
  statistics numbers;
};
std::vector<slice> slices_of(const outcome& o, const probe_outcome& p, unsigned most = 120);

std::string markdown_of(const outcome& o);
std::string html_of(const outcome& o);
nlohmann::json json_of(const outcome& o);

}  // namespace chaos::experiment
