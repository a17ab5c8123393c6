// What commands take from outside: the FILE that is named, and the signals that end them.
#pragma once
#include <atomic>
#include <string>
#include <string_view>

#include "control/rules/problem.hpp"

namespace chaos::cli {

rules::result<std::string> read_input(const std::string& path);     // "-": standard input
rules::problem in_file(const std::string& path, std::string_view text, rules::problem p);  // says in which file, and shows the line there

// From the first call on SIGINT, SIGTERM and SIGHUP are only noted: the latest of them, or 0. A second one changes nothing.
const std::atomic<int>& caught_signal();

}  // namespace chaos::cli
