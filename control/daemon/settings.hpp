// What chaosd was started with: command line, then chaos.ini, then defaults. settings.def is the list.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/rules/values.hpp"

namespace chaos::daemon {

struct settings {
  std::string session, dir, owner, config, stop_file;
  bool restore = false, use_syslog = false, foreground = false, help = false, version = false, manual = false;
  std::optional<std::uint64_t> seed;
  std::optional<std::uint64_t> default_for_ns;
  int ready_fd = -1;

  bool enabled = true, dry_run = false, safety = true;
  unsigned experiments_max = 5;
  std::uint64_t experiment_timeout_ns = 300'000'000'000;
  std::string max_toxicity = "100%";
  std::vector<std::string> only_processes;

  std::optional<rules::duration_range> default_latency;
  std::string default_error_rate;  // "": none
  bool metrics = true;

  std::string http, token_file, experiments, schedules;
  unsigned http_rate = 500;

  std::set<std::string, std::less<>> said;  // names of the settings that the command line gave
};

enum class setting_form { flag, truth, text };
struct setting_row {
  const char* name;
  setting_form form;
  const char* value_help;
  bool in_config;
  const char* help;
};
std::string flag_of(const setting_row& row);  // "--ready-fd"

rules::result<settings> settings_from(int argc, char** argv);

// Reads s.config, or else the file at `otherwise` if there is one. What the command line said stays.
rules::result<rules::done> read_config(settings& s, const std::string& otherwise);
std::string usage();
std::string manual_page();  // chaosd(8)

}  // namespace chaos::daemon
