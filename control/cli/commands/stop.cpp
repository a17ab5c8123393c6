// chaos-ctl stop: everything off, whatever state the daemon is in.
#include <csignal>

#include "../link.hpp"
#include "../output.hpp"
#include "../pages.hpp"
#include "control/schedule/files.hpp"

namespace chaos::cli::commands {

namespace {

// A schedule would go on with the next injection: it is told to end. How many there were.
std::size_t end_schedules(const std::string& folder) {
  std::size_t told = 0;
  for (const auto& s : schedule::known_schedules(folder))
    if (s.running && s.pid > 0 && kill(s.pid, SIGTERM) == 0) ++told;
  return told;
}

}  // namespace

int stop(const invocation& from) {
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  const auto schedules = end_schedules(where->folder);
  const auto say = [&](const char* by, const std::string& sentence) {
    if (from.json) print_json({{"stopped", true}, {"by", by}, {"schedules", schedules}});
    else print(sentence + (schedules ? "; " + human_count(schedules) + (schedules == 1 ? " schedule was" : " schedules were") + " told to end" : "") + "\n");
    return exits::done;
  };
  std::string silence = "no chaosd runs";
  if (auto link = protocol::client::connect(where->folder)) {
    if (auto reply = link->call(protocol::command::stop, json::object(), std::chrono::seconds(1)))
      return say("daemon", "everything is off: " + human_count(number(reply->result, "ended")) + " rules ended" +
                           (number(reply->result, "breakers") ? ", " + human_count(number(reply->result, "breakers")) + " breakers have control again" : ""));
    else silence = reply.error().message;
  } else if (link.error().code != rules::problem_code::no_daemon) {
    silence = link.error().message;
  }
  switch (stop_in_page(where->folder)) {
    case stop_outcome::stopped: return say("page", "everything is off: " + silence + ", so the shared page itself was marked");
    case stop_outcome::no_page:
      return report({rules::problem_code::no_daemon, silence + ", and session " + where->session + " of " + where->base + " has no page: nothing can be in force", "", {}}, from);
    case stop_outcome::other_version:
      return report({rules::problem_code::version_mismatch, "the page of this session is of another version: use the chaos-ctl that came with its chaosd", "", {}}, from);
    case stop_outcome::not_allowed: break;
  }
  return report({rules::problem_code::not_allowed, silence + ", and the page of session " + where->session + " may not be written by you", where->folder, {}}, from);
}

}  // namespace chaos::cli::commands
