// chaosd put together: pages, rules, socket, timers, and what ties them. commands.cpp answers requests.
#pragma once
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "audit.hpp"
#include "control/protocol/session_folder.hpp"
#include "closer.hpp"
#include "delays.hpp"
#include "drain.hpp"
#include "experiment_reports.hpp"
#include "experiments_file.hpp"
#include "live_breaker.hpp"
#include "loop.hpp"
#include "page_writer.hpp"
#include "processes.hpp"
#include "report_reader.hpp"
#include "resolver.hpp"
#include "rule_store.hpp"
#include "safety.hpp"
#include "server.hpp"
#include "settings.hpp"
#include "sinks.hpp"
#include "timeline.hpp"

namespace chaos::daemon {

class daemon {
 public:
  daemon(protocol::session_location where, const settings& how, page_writer page, report_reader report, int listening_fd,
         int signal_fd);
  ~daemon();
  void serves_http(const std::string& url, const std::string& warning);  // for status
  void run();  // until SIGTERM, SIGINT or `shutdown`

 private:
  using json = protocol::json;
  using words = std::vector<std::string>;

  // --- daemon.cpp: time and events
  void renew();
  void drain_events();
  void set_pace();           // how often to drain: often while something may happen
  void after_change();       // timers and watches follow the rules
  void break_live(const std::vector<std::uint32_t>& ids);  // connections that rules which just came into force end at once
  void on_broken(live_outcome outcome);
  void expire();
  void on_addresses(const std::string& name, std::vector<rules::ip_address> addresses);
  void refresh_names();
  void honour_stop();
  void shut_down();

  // --- watches.cpp: processes that rules depend on
  bool watch_process(std::int32_t pid, std::uint64_t start_ticks, std::function<void()> on_end);
  void watch_owners();
  void watch_run(const saved_run& run);
  void check_expected();
  void tell_target(std::int32_t pid, const std::string& text);

  // --- commands.cpp: what is asked
  void handle(client_id who, const protocol::request& request);
  void dispatch(client_id who, const protocol::request& request);
  void set(client_id who, const json& body);
  void check(client_id who, const json& body);
  void apply(client_id who, const json& body);
  void run_begin(client_id who, const json& body);
  void expect_attach(client_id who, const json& body);
  void change(client_id who, const protocol::request& request);  // rm, pause, resume
  void stop(client_id who);
  void watch(client_id who, const json& body);
  void schedule_told(client_id who, const json& body);
  void client_gone(client_id who);
  void answer(client_id who, const rules::result<json>& outcome, std::vector<std::string> warnings = {});
  // Checks the specs, resolves their names (with a deadline), puts them in force, and hands the ids to `then`.
  void install(client_id who, std::vector<rules::rule_spec> specs, std::uint64_t run,
               std::function<void(const rules::result<std::vector<std::uint32_t>>&, std::vector<std::string>)> then);
  void finish_installs(bool by_time);
  rules::result<std::vector<std::uint32_t>> selected(const json& body) const;
  // Who of the living a rule means, by whether call stacks can be looked at there.
  struct stack_reach {
    unsigned with = 0, without = 0;
  };
  stack_reach stacks_within(const rules::compiled_rule& r) const;
  // `enabled`, the stop file, and the blast radius where the owner of a rule runs an experiment.
  rules::result<rules::done> permitted(const std::vector<rules::rule_spec>& specs);
  rules::result<const experiment*> experiment_of(const rules::rule_spec& spec);  // that its owner runs; null: none
  actor asker(client_id who, const json& body = json::object()) const;

  // --- experiment_commands.cpp: experiments, asked about or ended by chaosd itself
  static const std::map<std::string, void (daemon::*)(client_id, const json&)>& experiment_actions();
  void experiment_asked(client_id who, const json& body);
#define EXPERIMENT_ACTION(name, changes, arguments, meaning) void experiment_##name(client_id who, const json& body);
#include "control/protocol/experiment_actions.def"
#undef EXPERIMENT_ACTION
  void set_experiments_paused(client_id who, const json& body, bool paused);
  json list_experiments() const;
  rules::result<std::vector<experiment*>> chosen_experiments(const json& body);
  static std::string ended_among(const std::vector<experiment*>& chosen);
  std::vector<std::uint32_t> rules_of(const experiment& e) const;
  void tell_of(const experiment& e, const std::string& what);
  void restore_experiments();
  void keep_experiments();   // for the daemon after this one
  void keep_report(experiment& e);
  void remove_rules_of(experiment& e, const std::string& reason);
  void stop_experiment(experiment& e, const std::string& reason);
  void conclude(experiment& e, const std::string& verdict, const std::string& reason);  // `e` may be forgotten by it
  void runner_gone(client_id who);
  void time_out_experiments();
  void stop_experiments(const std::string& reason);
  void honour_stop_file();

  // --- breakers.cpp: circuit breakers of targets
  void breaker(client_id who, const json& body);
  std::vector<reported_breaker> living_breakers() const;
  json breakers() const;
  void answer_breaker_askers();
  unsigned release_breakers(const char* why);

  // --- reports.cpp: what is told
  json list() const;
  json stats() const;
  json ps() const;
  json status() const;
  json events(const json& body) const;
  rules::result<json> save() const;

  struct install_job {
    client_id who;
    std::vector<rules::rule_spec> specs;
    std::uint64_t run;
    std::vector<std::string> names;  // that are still being resolved
    std::uint64_t deadline_ns;
    std::function<void(const rules::result<std::vector<std::uint32_t>>&, std::vector<std::string>)> then;
  };
  struct expected_process {
    std::int32_t pid;
    std::uint64_t start_ticks, deadline_ns;
    bool tell_stderr;
  };
  struct process_watch {
    int fd;
    std::int32_t pid;
  };

  struct asked_change {  // until it is answered
    actor by;
    std::string command;
    json request;
  };

  protocol::session_location where_;
  settings how_;
  safety safety_;
  audit audit_;
  loop loop_;
  page_writer page_;
  report_reader report_;
  state_file state_;
  rule_store rules_;
  processes processes_;
  experiments experiments_;
  experiments_file experiments_file_;
  experiment_reports reports_;
  std::string experiments_unsaved_;  // why the table could not be kept; "": it is
  std::map<client_id, asked_change> asked_;
  sinks sinks_;
  closer closer_;
  server server_;
  timeline timeline_;
  drain drain_;
  delays delays_;
  resolver resolver_;
  live_breaker live_breaker_;
  timer lease_timer_, drain_timer_, end_timer_, name_timer_, install_timer_, breaker_timer_, experiment_timer_;
  int signal_fd_;
  std::uint64_t started_ns_;
  std::uint64_t pace_ns_ = 0;
  bool crowded_ = false;  // the latest drain found many events
  std::uint64_t renewals_ = 0;
  std::uint64_t own_events_ = 0;  // on the timeline without having been in the ring
  std::list<install_job> installs_;
  std::set<client_id> stack_watchers_;            // who want call stacks with the events
  std::vector<client_id> breaker_askers_;         // who wait for `breaker list`
  std::vector<expected_process> expected_;
  std::vector<json> missing_;                     // processes that never attached
  std::map<std::int32_t, int> owner_watches_;     // pid → pidfd
  std::vector<process_watch> watches_;
  std::vector<std::string> notes_;                // for status: what people should know
  std::string http_;                              // where the front end serves; "": nowhere
  bool shutting_down_ = false;
};

}  // namespace chaos::daemon
