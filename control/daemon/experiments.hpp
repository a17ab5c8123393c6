// The table of experiments: those under way, bounded in number, and the latest that ended, those of earlier daemons too. It
// knows nothing of rules, sockets and files; experiment_commands.cpp ties it to them.
//
//   begin ─> running <─ pause, resume ─> paused
//                └─ stop ─> stopping ─ end, loss of the runner ─> ended
#pragma once
#include <cstdint>
#include <list>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "audit.hpp"
#include "control/rules/problem.hpp"
#include "server.hpp"

namespace chaos::daemon {

enum class experiment_state { running, paused, stopping, ended };
inline constexpr const char* experiment_state_names[] = {"running", "paused", "stopping", "ended"};

struct experiment {
  std::uint64_t id = 0;
  std::string name, title, hypothesis;
  actor by;                      // who began it; its pid is the runner's
  client_id runner = 0;          // the connection of its runner
  experiment_state state = experiment_state::running;
  bool dry_run = false;
  std::uint64_t began_ns = 0, deadline_ns = 0, ended_ns = 0;
  std::int64_t began_unix_ms = 0;
  std::string phase;
  nlohmann::json figures = nlohmann::json::object();  // live ones, as the runner tells them
  std::string stop_reason;       // why it was told to stop
  std::string verdict, reason;   // once it has ended
  std::vector<std::string> removed;  // rules that chaosd took out of force for it
  std::string report_text;           // what its runner has handed in of its report, until it ends
  std::string no_report;             // why its report could not be kept, if it could not
  bool report = false;               // it is kept
  bool restored = false;             // of an earlier daemon

  bool live() const { return state != experiment_state::ended; }
};

struct saved_experiments {
  std::uint64_t begun = 0;
  std::list<experiment> table;  // oldest first
};

class experiments {
 public:
  static constexpr std::size_t remember_max = 64;  // that ended
  static constexpr std::size_t live_max = 64;      // experiments_max is not more
  static constexpr std::size_t text_max = 1024;  // of a name, a hypothesis, a reason
  static constexpr std::size_t verdicts_max = 16;  // runners choose the word; further ones count as "other"

  explicit experiments(unsigned most) : most_(most) {}

  // The table of the daemon before this one, into an empty one. What ran then has ended: "aborted". Returns those.
  std::vector<const experiment*> restore(saved_experiments saved);

  rules::result<experiment*> begin(experiment fresh);  // gives it its id; refused when as many as may run do
  void end(experiment& e, std::string verdict, std::string reason, std::uint64_t now_ns);

  experiment* of_runner(client_id who);          // live ones
  experiment* of_pid(std::int32_t pid);          // live ones
  experiment* of_pid(std::int32_t pid, const std::string& name);
  std::vector<experiment*> live();
  std::size_t live_count() const;
  std::size_t stopping_count() const;            // of the live ones
  // By id or name; among several of a name a live one, else the latest.
  rules::result<experiment*> find(const std::string& word);
  std::uint64_t next_deadline_ns() const;        // 0: none
  const std::list<experiment>& all() const { return table_; }  // oldest first
  std::uint64_t begun() const { return next_ - 1; }
  const std::map<std::string, std::uint64_t>& verdicts() const { return verdicts_; }  // how many ended so, ever

  std::set<std::uint64_t> ids() const;
  void have_reports(const std::set<std::uint64_t>& ids);  // of these it is kept, of others not

  static nlohmann::json describe(const experiment& e, std::uint64_t now_ns);

 private:
  void forget_old();

  unsigned most_;
  std::uint64_t next_ = 1;
  std::list<experiment> table_;
  std::map<std::string, std::uint64_t> verdicts_;
};

}  // namespace chaos::daemon
