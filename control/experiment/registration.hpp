// The entry of a running experiment in chaosd's table: announced, kept up to date by a thread of its own, and the way in
// which `chaos-ctl experiment stop|pause|resume`, the time-out and the stop file reach the runner.
#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "control/protocol/client.hpp"
#include "outcome.hpp"

namespace chaos::experiment {

class registration {
 public:
  // Announces the experiment to the chaosd of this session folder, or says why it may not begin.
  static rules::result<std::unique_ptr<registration>> begin(const std::string& session_folder, const plan& p, bool dry_run);
  ~registration();  // without end(): chaosd counts it as lost
  registration(const registration&) = delete;

  std::uint64_t id() const { return id_; }
  bool dry_run() const { return dry_run_; }  // asked for, or wished by chaosd

  // --- any thread
  void enter(phase p);
  void tell(nlohmann::json figures);  // live ones, for `chaos-ctl experiment status`
  std::string stop_asked() const;     // why the runner should end; "" while nobody wants that
  bool paused() const { return paused_; }

  void end(const outcome& o, const nlohmann::json& report);

 private:
  registration(protocol::client link, std::uint64_t id, bool dry_run);
  void work();

  protocol::client link_;
  const std::uint64_t id_;
  const bool dry_run_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::string phase_, stop_;
  nlohmann::json figures_ = nlohmann::json::object();
  bool over_ = false;
  std::atomic<bool> paused_{false};
  std::thread thread_;
};

}  // namespace chaos::experiment
