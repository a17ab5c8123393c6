// chaos-ctl daemon: start, stop and look at the daemon of the session.
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "../link.hpp"
#include "../output.hpp"

namespace chaos::cli::commands {

namespace {

using rules::problem_code;

int say_status(const invocation& from, json status, const session_location& where) {
  if (from.json) {
    print_json(status);
    return exits::done;
  }
  print("chaosd " + text_of(status, "version") + ", pid " + std::to_string(number(status, "pid")) + ", session " + text_of(status, "session", where.session) + " of " + where.base + "\n");
  print("lease: " + human_ns(number(status, "lease_ms") * 1'000'000) + " left\n");
  if (const auto http = text_of(status, "http"); !http.empty()) print("http:  " + http + "\n");
  return exits::done;
}

int start(const invocation& from) {
  if (from.has("--owner"))
    if (const auto became = become_user(from.get("--owner")); !became) return report(became.error(), from);
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  bool started = false;
  const daemon_options options{from.has("--restore")};
  auto link = start_daemon(*where, options, &started);
  if (!link) return report(link.error(), from);
  auto status = ask_started(*where, options, *link, protocol::command::status, json::object(), &started);
  if (!status) return report(status.error(), from);
  for (const auto& w : status->warnings) warn(w);
  if (!from.json && from.session == "new") {
    print("CHAOS_SESSION=" + where->session + "\n");
    return exits::done;
  }
  if (!from.json && !started) note("it was running already");
  return say_status(from, std::move(status->result), *where);
}

int stop_it(const invocation& from) {
  json status, answer;
  session_location where;
  if (const int failed = ask(from, protocol::command::status, json::object(), status, &where)) return failed;
  const auto pid = static_cast<pid_t>(number(status, "pid"));
  const int gone = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (const int failed = ask(from, protocol::command::shutdown, json::object(), answer)) return failed;
  // Done means gone: whoever starts the next one must not meet this one. In many containers no init takes in what is left of it.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  pollfd wait{gone, POLLIN, 0};
  while (pid > 0 && (gone >= 0 ? poll(&wait, 1, 50) <= 0 : poll(nullptr, 0, 5) == 0 && kill(pid, 0) == 0))
    if (std::chrono::steady_clock::now() > deadline)
      return report({problem_code::failed, "chaosd (pid " + std::to_string(pid) + ") said that it ends, and still runs", "", {}}, from);
  if (gone >= 0) close(gone);
  if (from.json) print_json({{"stopped", true}, {"pid", pid}});
  else print("chaosd (pid " + std::to_string(pid) + ") ended\n");
  return exits::done;
}

}  // namespace

int daemon(const invocation& from) {
  static const std::vector<std::string> actions{"start", "stop", "status"};
  if (from.words.empty()) return report({problem_code::missing_word, "daemon needs to know what to do: start, stop or status", "", actions}, from);
  if (from.words.size() > 1) return report({problem_code::unexpected_word, "daemon takes one word, and '" + from.words[1] + "' is the second", from.words[1], actions}, from);
  const auto& action = from.words[0];
  if (action == "start") return start(from);
  for (const char* flag : {"--owner", "--restore"})
    if (from.has(flag)) return report({problem_code::bad_combination, std::string(flag) + " goes with daemon start", flag, {}}, from);
  if (action == "stop") return stop_it(from);
  if (action != "status") return report(rules::unknown_word(problem_code::unexpected_word, "action", action, actions), from);
  json status;
  session_location where;
  if (const int failed = ask(from, protocol::command::status, json::object(), status, &where)) return failed;
  return say_status(from, std::move(status), where);
}

}  // namespace chaos::cli::commands
