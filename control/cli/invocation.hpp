// What somebody typed, taken apart by the tables: the command, its words, its options. Own parsing rather than a
// library's: a target such as [::1]:80 or a value such as XOOX must arrive as it was typed, and a wrong word must be
// answered with the nearest right one.
#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "command_table.hpp"
#include "control/rules/problem.hpp"

namespace chaos::cli {

namespace exits {
inline constexpr int done = 0, failed = 1, usage = 2, no_daemon = 3, hypothesis_failed = 4;
}

struct invocation {
  const command_info* command = nullptr;  // none: --help or --version stands alone
  bool json = false;
  bool help = false;
  bool version = false;
  std::string session;             // empty: CHAOS_SESSION, else the default one
  std::string dir;                 // empty: CHAOS_DIR, else the default one
  std::vector<std::string> words;  // of `set`, with the options of the rule; of `run`, the program and its arguments
  std::map<std::string, std::vector<std::string>> options;  // "--set" → its values; flags → empty
  std::vector<std::string> typed;  // everything, to show where a wrong word stood

  bool has(const std::string& flag) const { return options.count(flag) != 0; }
  std::string get(const std::string& flag) const {
    const auto found = options.find(flag);
    return found == options.end() || found->second.empty() ? std::string() : found->second.back();
  }
};

// `into` is filled as far as parsing came, so that an error knows whether JSON was asked for.
rules::result<rules::done> parse_command_line(std::span<const std::string> typed, invocation& into);

}  // namespace chaos::cli
