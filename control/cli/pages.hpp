// The two shared pages of a session, seen from chaos-ctl: who is attached (read with pread, trusted in nothing), and the
// emergency stop, which is the only thing that chaos-ctl ever writes there.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "control/protocol/session_folder.hpp"

namespace chaos::cli {

struct attached_process {
  pid_t pid = 0;
  std::uint64_t run = 0;
  std::uint32_t limits = 0;
  std::string name;
  std::string executable;
};

// Living processes in the attach slots of a session's report page.
std::vector<attached_process> attached_in(const std::string& session_folder);
bool is_attached(const std::string& session_folder, pid_t pid);

struct other_session {
  std::string base;
  std::string session;
  std::size_t attached;
};

// Every session that we may read, the chosen one left out, that has attached processes.
std::vector<other_session> sessions_elsewhere(const protocol::session_location& chosen);

// "no process is attached in session default; session ci has 2: add --session ci"; empty when there is nothing to say.
std::string elsewhere_hint(const protocol::session_location& chosen);

struct rule_page_facts {
  bool there = false;
  bool usable = false;             // of our version and size
  std::uint32_t found_version = 0;
  bool stopped = false;
  std::uint32_t armed_classes = 0;
  std::uint32_t generation = 0;
  std::int64_t lease_left_ns = 0;  // negative: lapsed
  std::uint32_t daemon_pid = 0;
};
rule_page_facts look_at_rule_page(const std::string& session_folder);

enum class stop_outcome { stopped, no_page, other_version, not_allowed };
stop_outcome stop_in_page(const std::string& session_folder);

}  // namespace chaos::cli
