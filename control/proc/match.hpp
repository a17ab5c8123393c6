// Which live connections of which processes a rule means, as far as that can be said from outside the process. The same
// answers as preload/core/match.hpp gives inside; names that only the target looked up are known only there.
#pragma once
#include <string>

#include "control/rules/compile.hpp"
#include "sockets.hpp"

namespace chaos::proc {

struct process_names {
  std::int32_t pid = 0;
  std::uint64_t run = 0;
  std::string comm, executable;
};

// The rule ends every connection that it means, now or when its time is up (`reset_peer T`), whatever the target does: a closing
// kind, in force, that nothing narrows to some calls, threads or moments.
bool breaks_live(const abi::rule& r);

bool named_like(const char* glob, const std::string& executable, const std::string& comm);  // --process
bool means_process(const rules::compiled_rule& r, const process_names& p);   // --process, --pid, run
bool means_connection(const abi::rule& r, const tcp_row& row, int fd = -1);  // target terms

bool glob_match(const char* pattern, const char* text);  // * and ?, nothing else

}  // namespace chaos::proc
