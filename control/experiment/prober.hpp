// Keeps one probe or load asking at its rate, whatever the answers do: every request has its due time. A probe has enough
// workers that a slow answer does not hold back the next request; the requests of a load share its connections, wait when all
// are busy, and their latency counts the waiting. One that could not be sent within its timeout has timed out.
#pragma once
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "probe.hpp"

namespace chaos::experiment {

class prober {
 public:
  prober(const probe_plan& p, steady::time_point began, const surroundings& around);
  ~prober();  // stops and waits: at most the probe's timeout
  prober(const prober&) = delete;

  void stop();  // no new request
  void join();
  std::vector<sample> samples() const;
  // Those that were due at `from` or later and have ended. Cheap for the latest.
  std::vector<sample> recent(std::int64_t from_ns) const;
  std::uint64_t ended() const;
  const probe_plan& plan() const { return plan_; }

 private:
  void work();
  const probe_plan& plan_;
  const steady::time_point began_;
  const surroundings around_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopped_ = false;
  std::uint64_t next_ = 0;
  std::vector<sample> samples_;  // in the order in which they ended
  std::vector<std::thread> workers_;
};

}  // namespace chaos::experiment
