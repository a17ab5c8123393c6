// Why a rule that is in force does nothing: what `doctor --rule` says. Reads what chaosd tells of the rule, the session's
// pages, and /proc of the attached processes.
#pragma once
#include <string>
#include <vector>

#include "output.hpp"
#include "pages.hpp"

namespace chaos::cli {

struct reason {
  std::string code;                  // stable word for --json: no_process, other_process, no_connection, not_called …
  std::string text;
  std::vector<std::string> nearest;  // what there is instead, nearest first: endpoints, processes
};

// Most telling first; empty: it works. `rule`: as `list --json` describes it.
std::vector<reason> why_nothing(const json& rule, const protocol::session_location& where);

}  // namespace chaos::cli
