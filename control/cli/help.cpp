#include "help.hpp"

#include <algorithm>
#include <sstream>

#include "chaos/abi/effects.hpp"
#include "control/rules/options.hpp"
#include "control/stress/plan.hpp"
#include "output.hpp"

namespace chaos::cli {

namespace {

std::string two_columns(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::size_t left = 0;
  for (const auto& [a, b] : rows)
    if (width(a) <= 28) left = std::max(left, width(a));
  std::string out;
  for (const auto& [a, b] : rows) {
    const bool own_line = width(a) > left;
    out += "  " + a;
    if (own_line) out += '\n' + std::string(left + 4, ' ');
    else out += std::string(left + 2 - width(a), ' ');
    out += wrapped(b, left + 4) + '\n';
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> option_rows(std::vector<command_option> options) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const auto& o : options) {
    const std::string only = kinds_taking(o.flag);
    rows.emplace_back(o.flag + (o.takes_value() ? std::string(" ") + o.value_help : ""), o.help + (only.empty() || !*o.command ? "" : " (" + only + ")"));
  }
  return rows;
}

}  // namespace

std::vector<std::string> classes_in(abi::class_set classes) {
  std::vector<std::string> names;
  for (unsigned i = 0; i < std::size(abi::class_table); ++i)
    if (classes >> i & 1) names.emplace_back(abi::class_table[i].name);
  return names;
}

std::string wrapped(const std::string& text, std::size_t indent, std::size_t columns) {
  std::istringstream words(text);
  std::string out, word;
  std::size_t at = indent;
  while (words >> word) {
    if (at > indent && at + 1 + width(word) > columns) {
      out += '\n' + std::string(indent, ' ');
      at = indent;
    } else if (at > indent) {
      out += ' ';
      ++at;
    }
    out += word;
    at += width(word);
  }
  return out;
}

std::string kinds_taking(const std::string& flag) {
  const auto option = rules::find_option(flag);
  if (!option || rules::info_of(*option).kinds == ~rules::kind_set{0}) return {};
  std::string names;
  for (unsigned k = 0; k < abi::effect_count; ++k)
    if (rules::takes(static_cast<abi::effect>(k), *option)) names += (names.empty() ? "" : ", ") + std::string(abi::effect_table[k].name);
  return names;
}

const std::vector<std::pair<std::string, std::string>>& exit_statuses() {
  static const std::vector<std::pair<std::string, std::string>> rows{
      {"0", "done"}, {"1", "refused or failed"}, {"2", "usage: a word is wrong; nothing was changed"}, {"3", "no daemon runs for the session"},
      {"4", "the hypothesis of an experiment failed"}};
  return rows;
}

const std::vector<std::pair<std::string, std::string>>& environment_names() {
  static const std::vector<std::pair<std::string, std::string>> rows{
      {"CHAOS_DIR", "where the sessions are, as --dir"},
      {"CHAOS_SESSION", "which session, as --session"},
      {"CHAOS_DAEMON", "the chaosd to start (default: beside chaos-ctl)"},
      {"CHAOS_LIB", "the libchaos.so to preload (default: ../lib beside chaos-ctl)"},
      {"NO_COLOR", "no colour, even on a terminal"}};
  return rows;
}

const std::vector<std::pair<std::string, std::string>>& target_forms() {
  static const std::vector<std::pair<std::string, std::string>> rows{
      {"redis:6379", "a name, as the process itself looked it up, or else as chaosd resolves it"},
      {"10.0.0.0/8:5432  [2001:db8::/32]:80  *:6379", "addresses of the remote end, with or without a port"},
      {"listen:8080", "connections that were accepted on this port"},
      {"udp://*:53", "datagrams only"},
      {"http://shop:8080/api/*", "requests over HTTP by host, port and path"},
      {"unix:/run/app/*.sock", "unix sockets by path"},
      {"file:/var/lib/app/**", "files by absolute path; ** crosses folders"},
      {"fd:3", "one descriptor"},
      {"malloc", "memory"},
      {"dns:*.example.com", "names being looked up"},
      {"env:NAME", "an environment variable"},
      {"process", "the process itself"},
      {"A,B,!C", "several; ! leaves out"}};
  return rows;
}

std::vector<std::pair<std::string, std::string>> stressor_forms() {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const auto& s : stress::all_stressors()) rows.emplace_back(std::string(s.name) + " " + s.amounts, s.meaning);
  return rows;
}

std::string help() {
  std::string out = "chaos-ctl puts faults into running programs and takes them out again.\n\nUsage: chaos-ctl COMMAND [ARGUMENT]… [OPTION]…\n\nCommands:\n";
  std::vector<std::pair<std::string, std::string>> rows;
  for (const auto& c : all_commands())
    if (!c.hidden()) rows.emplace_back(c.name, c.summary);
  out += two_columns(rows) + "\nKinds of faults:\n";
  rows.clear();
  for (const auto& e : abi::effect_table) rows.emplace_back(e.name, e.summary);
  out += two_columns(rows) + "\nOptions of every command:\n";
  out += two_columns(option_rows({common_options().begin(), common_options().end()}));
  out += "\nExit status:\n" + two_columns(exit_statuses());
  return out + "\nBegin with:  chaos-ctl run -- ./service     and, while it runs:  chaos-ctl set latency redis:6379 200ms\n";
}

std::string help_of(const command_info& command) {
  std::string out = std::string("Usage: chaos-ctl ") + command.name + (*command.arguments ? " " : "") + command.arguments + "\n\n";
  std::string summary = command.summary;
  out += summary + ".\n" + wrapped(command.description, 0) + "\n";
  if (takes_rule(command)) {
    out += "\nKinds:\n";
    std::vector<std::pair<std::string, std::string>> rows;
    for (const auto& e : abi::effect_table) rows.emplace_back(std::string(e.name) + (*e.value_help ? " " : "") + e.value_help, e.summary);
    out += two_columns(rows) + "\nTargets:\n" + two_columns(target_forms());
  }
  if (std::string_view(command.name) == "stress") out += "\nStressors:\n" + two_columns(stressor_forms());
  out += "\nOptions:\n" + two_columns(option_rows(options_of(command)));
  bool first = true;
  for (const auto& e : command_examples())
    if (std::string_view(e.command) == command.name) {
      out += std::string(first ? "\nExamples:\n" : "") + "  " + e.line + "\n";
      first = false;
    }
  return out;
}

}  // namespace chaos::cli
