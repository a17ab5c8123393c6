// The five endpoints under /chaos_experiments/: three experiments that /chaos_experiments/test suffers while they are active
// and, when they are started with a `target`, the programs under the shim as well. Each is an experiment in chaosd's table,
// so that its limits, its stop file and `chaos-ctl experiment stop` hold here, too.
#pragma once
#include <chrono>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "control/protocol/client.hpp"
#include "front.hpp"
#include "launcher.hpp"

namespace chaos::http {

// What an experiment of compat.def does when nobody says how much: what chaosd was told, else `otherwise`.
struct amount_default {
  double amount, spread;
};
amount_default default_of(std::string_view experiment, double otherwise, const front_settings& how);

class compat {
 public:
  using json = nlohmann::json;
  struct outcome {
    int status = 200;
    json body;
    std::chrono::milliseconds delay{0};
  };

  compat(const front_settings& how, launcher& launch);  // for the life of the process
  ~compat() = delete;

  outcome list() const;
  outcome start(const json& body, const std::string& remote);
  outcome stop(const json& body);
  outcome status(const std::optional<std::string>& name) const;
  outcome test();

 private:
  using clock = std::chrono::steady_clock;
  struct started {
    double amount = 0, spread = 0, duration_seconds = 0;  // of latency: from amount - spread to amount + spread
    std::string start_time, end_time;
    clock::time_point began, until, ended;
    bool active = false, paused = false, dry_run = false;
    json results = json::object();
    std::uint64_t requests = 0, errors = 0;       // of test, under error_injection
    std::optional<protocol::client> link;         // while it is active: its entry in chaosd's table
    pid_t child = 0;                              // that consumes memory
  };

  void keep();  // the thread: ends what is over, or was told to stop
  void finish(const std::string& name, started& e, const char* verdict, const std::string& reason);
  rules::result<rules::done> inject(const std::string& name, const started& e, const json& body, const std::string& remote);

  const front_settings how_;
  launcher& launch_;
  mutable std::mutex mutex_;
  std::map<std::string, started> started_;  // by name; at most the rows of compat.def
  std::mt19937_64 random_{std::random_device()()};
};

}  // namespace chaos::http
