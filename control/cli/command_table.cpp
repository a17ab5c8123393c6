#include "command_table.hpp"

#include <algorithm>

#include "control/rules/options.hpp"

namespace chaos::cli {

namespace commands {
#define COMMAND(name, ...) int name(const invocation&);
#define COMMAND_OPTION(...)
#define COMMAND_EXAMPLE(...)
#include "chaos/abi/commands.def"
#undef COMMAND
#undef COMMAND_OPTION
#undef COMMAND_EXAMPLE
}  // namespace commands

namespace {

constexpr command_info command_table[] = {
#define COMMAND(name, arguments, daemon, summary, description) \
  {#name, arguments, policy::daemon, summary, description, commands::name},
#define COMMAND_OPTION(...)
#define COMMAND_EXAMPLE(...)
#include "chaos/abi/commands.def"
#undef COMMAND
#undef COMMAND_OPTION
#undef COMMAND_EXAMPLE
};

constexpr command_option option_table[] = {
#define COMMAND(...)
#define COMMAND_OPTION(command, flag, value_help, help) {#command, flag, value_help, help},
#define COMMAND_EXAMPLE(...)
#include "chaos/abi/commands.def"
#undef COMMAND
#undef COMMAND_OPTION
#undef COMMAND_EXAMPLE
};

constexpr command_example example_table[] = {
#define COMMAND(...)
#define COMMAND_OPTION(...)
#define COMMAND_EXAMPLE(command, line) {#command, line},
#include "chaos/abi/commands.def"
#undef COMMAND
#undef COMMAND_OPTION
#undef COMMAND_EXAMPLE
};

constexpr command_option common_table[] = {
    {"", "--json", "", "one JSON document on standard output (watch: one object a line)"},
    {"", "--session", "NAME", "which session (default: CHAOS_SESSION, else `default`); `new` makes a private one where a daemon is started"},
    {"", "--dir", "FOLDER", "where the sessions are (default: CHAOS_DIR, else /run/user/UID/chaos, else /dev/shm/chaos-UID)"},
    {"", "--help", "", "what this command does"},
    {"", "--version", "", "the version of chaos-ctl"},
};

}  // namespace

std::span<const command_info> all_commands() { return command_table; }
std::span<const command_option> command_options() { return option_table; }
std::span<const command_example> command_examples() { return example_table; }
std::span<const command_option> common_options() { return common_table; }

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const auto& c : command_table)
    if (!c.hidden()) names.emplace_back(c.name);
  return names;
}

const command_info* find_command(std::string_view name) {
  const auto found = std::ranges::find(command_table, name, &command_info::name);
  return found == std::end(command_table) ? nullptr : found;
}

bool takes_rule(const command_info& command) { return std::string_view(command.name) == "set"; }

std::vector<std::string> actions_of(const command_info& command) {
  std::vector<std::string> actions;
  std::string word;
  const auto end_word = [&] {
    const bool action = !word.empty() && std::ranges::all_of(word, [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
    if (action && std::ranges::find(actions, word) == actions.end()) actions.push_back(word);
    word.clear();
  };
  for (const char c : std::string_view(command.arguments))
    if (std::string_view(" |()[]").find(c) == std::string_view::npos) word += c;
    else end_word();
  end_word();
  return actions;
}

std::vector<command_option> options_of(const command_info& command) {
  std::vector<command_option> all;
  for (const auto& row : option_table)
    if (std::string_view(row.command) == command.name) all.push_back(row);
  if (takes_rule(command)) {
    // flag_of() makes a string; the rows want a literal's life
    static const std::vector<std::string> flags = [] {
      std::vector<std::string> made;
      for (unsigned i = 0; i < rules::option_count; ++i) made.push_back(rules::flag_of(static_cast<rules::option>(i)));
      return made;
    }();
    for (unsigned i = 0; i < rules::option_count; ++i)
      all.push_back({command.name, flags[i].c_str(), rules::option_table[i].value_help, rules::option_table[i].help});
  }
  all.insert(all.end(), std::begin(common_table), std::end(common_table));
  return all;
}

}  // namespace chaos::cli
