// commands.def as tables of plain data.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace chaos::cli {

struct invocation;

enum class policy { starts, needs, none };

struct command_info {
  const char* name;
  const char* arguments;
  policy daemon;
  const char* summary;  // empty: not shown
  const char* description;
  int (*act)(const invocation&);
  bool hidden() const { return *summary == 0; }
};

struct command_option {
  const char* command;
  const char* flag;
  const char* value_help;
  const char* help;
  bool takes_value() const { return *value_help != 0; }
};

struct command_example {
  const char* command;
  const char* line;
};

std::span<const command_info> all_commands();
std::span<const command_option> command_options();
std::span<const command_example> command_examples();
std::span<const command_option> common_options();  // of every command

std::vector<std::string> command_names();  // but for hidden ones
const command_info* find_command(std::string_view name);
bool takes_rule(const command_info& command);  // its words are those of a rule, options.def included

std::vector<std::string> actions_of(const command_info& command);  // `run`, `validate` … of experiment: the first words that its arguments name

// Every flag that this command understands, common ones included; rule options when it takes a rule.
std::vector<command_option> options_of(const command_info& command);

}  // namespace chaos::cli
