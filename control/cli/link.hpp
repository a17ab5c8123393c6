// The way from chaos-ctl to the chaosd of the chosen session, and how one is started.
#pragma once
#include <chrono>
#include <string>

#include "control/protocol/client.hpp"
#include "control/protocol/session_folder.hpp"
#include "invocation.hpp"

namespace chaos::cli {

using protocol::session_location;

inline constexpr auto patience = std::chrono::seconds(5);  // of a question to chaosd in the middle of something

// The session that --session and --dir (or the environment) choose. `--session new` is replaced by a fresh name, once
// for a process, where the command may start a daemon; elsewhere it is an error.
rules::result<session_location> session_of(const invocation& from);

struct daemon_options {
  bool restore = false;
};

// Starts a daemon for this session unless one answers. Two at once make one: the loser's chaos-ctl uses the winner.
rules::result<protocol::client> start_daemon(const session_location& where, const daemon_options& options, bool* started = nullptr);

// Asks over a connection that start_daemon() gave. A daemon that was about to end took the connection and not the question: then
// the one after it is asked.
rules::result<protocol::reply> ask_started(const session_location& where, const daemon_options& options, protocol::client& link, protocol::command what,
                                           protocol::json arguments = protocol::json::object(), bool* started = nullptr);

// A connection as the command's policy wants it: started when needed, or a no_daemon problem that says what to do.
rules::result<protocol::client> daemon_for(const invocation& from, const session_location& where);
rules::result<protocol::client> daemon_that_runs(const session_location& where);  // never starts one

// Connects and asks; prints the problem, or warnings for people. `answer` is the result.
int ask(const invocation& from, protocol::command what, protocol::json arguments, protocol::json& answer, session_location* where = nullptr);

// {"words":[…]} or {"all":true} for rm, pause and resume.
rules::result<protocol::json> chosen_rules(const invocation& from);

// Files that belong to this installation: beside chaos-ctl, or where CHAOS_DAEMON and CHAOS_LIB say.
rules::result<std::string> find_daemon();
rules::result<std::string> find_library();

// Becomes another user for good. Needs root.
rules::result<rules::done> become_user(const std::string& name);

}  // namespace chaos::cli
