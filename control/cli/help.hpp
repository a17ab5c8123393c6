// `--help`, man pages and completions, all derived from the tables.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "chaos/abi/classes.hpp"
#include "command_table.hpp"

namespace chaos::cli {

std::string help();
std::string help_of(const command_info& command);

std::vector<std::pair<std::string, std::string>> man_pages();  // file name → troff
std::string bash_completion();
std::string zsh_completion();

const std::vector<std::pair<std::string, std::string>>& exit_statuses();       // number, meaning
const std::vector<std::pair<std::string, std::string>>& environment_names();   // variable, meaning
const std::vector<std::pair<std::string, std::string>>& target_forms();        // how a target is written, meaning
std::vector<std::pair<std::string, std::string>> stressor_forms();             // of `stress`: name and amounts, meaning

std::string kinds_taking(const std::string& flag);  // "latency, loss", or "" when every kind takes it

std::vector<std::string> classes_in(abi::class_set classes);  // by name

std::string wrapped(const std::string& text, std::size_t indent, std::size_t columns = 100);

}  // namespace chaos::cli
