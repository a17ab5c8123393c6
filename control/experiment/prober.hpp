// Keeps one probe asking at its rate, whatever the answers do: every request has its due time, enough workers stand by
// that a slow answer does not hold back the next request.
#pragma once
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "probe.hpp"

namespace chaos::experiment {

class prober {
 public:
  prober(const probe_plan& p, steady::time_point began);
  ~prober();  // stops and waits: at most the probe's timeout
  prober(const prober&) = delete;

  void stop();  // no new request
  void join();
  std::vector<sample> samples() const;
  const probe_plan& plan() const { return plan_; }

 private:
  void work();
  const probe_plan& plan_;
  const steady::time_point began_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopped_ = false;
  std::uint64_t next_ = 0;
  std::vector<sample> samples_;
  std::vector<std::thread> workers_;
};

}  // namespace chaos::experiment
