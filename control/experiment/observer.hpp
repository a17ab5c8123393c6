// Everything that is measured while an experiment runs: probes and loads, the timeline, processes.
#pragma once
#include <memory>

#include "background.hpp"
#include "processes.hpp"
#include "prober.hpp"

namespace chaos::experiment {

class observer {
 public:
  observer(const plan& p, session& s, outcome& o, steady::time_point began);
  ~observer() { finish(); }

  void tick(std::int64_t now_ns);  // often; each part is looked at when it is due
  void arm();                      // the injection begins: processes that end from here on have crashed
  void finish() noexcept;          // no more requests; what the probes saw is in the outcome

  // Requests that were due before `until_ns` and are still under way get `patience` to end.
  void collect(std::int64_t until_ns, nanoseconds patience, const std::function<void()>& meanwhile);
  void number();                   // the statistics of the windows
  bool recovered(std::int64_t from_ns);  // sets recovery times; true when every probe is healthy

  // The condition of [abort] that is met, with what was measured; "" for none.
  std::string abort_reason(std::int64_t now_ns) const;
  // Of all probes in the last second, for the progress line.
  statistics lately(std::int64_t now_ns) const;

 private:
  void take_events();
  double measured_now(const expectation& e, std::int64_t now_ns) const;

  const plan& plan_;
  session& session_;
  outcome& out_;
  const steady::time_point began_;
  timeline_lines lines_;
  process_watch processes_;
  std::vector<std::unique_ptr<background>> commands_;
  std::vector<std::unique_ptr<prober>> probers_;
  std::int64_t next_look_ns_ = 0, armed_ns_ = -1;
  bool finished_ = false;
};

}  // namespace chaos::experiment
