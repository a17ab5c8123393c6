// What chaosd was started with: command line, then chaos.ini, then defaults.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "control/rules/problem.hpp"

namespace chaos::daemon {

struct settings {
  std::string session, dir, owner, config;
  bool restore = false, use_syslog = false, foreground = false, help = false, version = false;
  std::optional<std::uint64_t> seed;
  std::optional<std::uint64_t> default_for_ns;
  int ready_fd = -1;
};

rules::result<settings> settings_from(int argc, char** argv);
rules::result<rules::done> read_config(settings& s);  // what the command line said stays
std::string usage();

}  // namespace chaos::daemon
