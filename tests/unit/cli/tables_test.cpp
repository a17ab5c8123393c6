// commands.def is the only list of commands: help, man pages and completions must agree with it, row by row.
#include <gtest/gtest.h>

#include <set>

#include "chaos/abi/effects.hpp"
#include "control/cli/command_table.hpp"
#include "control/cli/help.hpp"
#include "control/cli/invocation.hpp"
#include "control/cli/output.hpp"

namespace {

using namespace chaos::cli;

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string troff(std::string text) {
  for (std::size_t at = 0; (at = text.find('-', at)) != std::string::npos; at += 2) text.replace(at, 1, "\\-");
  return text;
}

TEST(CommandTable, EveryCommandAndOptionIsInHelpManPagesAndCompletions) {
  const auto pages = man_pages();
  const auto page = [&](const std::string& name) {
    for (const auto& [file, text] : pages)
      if (file == name) return text;
    return std::string();
  };
  const std::string all = help(), bash = bash_completion(), zsh = zsh_completion(), main_page = page("chaos-ctl.1");
  unsigned shown = 0;
  for (const auto& c : all_commands()) {
    if (c.hidden()) continue;
    ++shown;
    const std::string name = c.name, own = page("chaos-ctl-" + name + ".1"), own_help = help_of(c);
    EXPECT_TRUE(holds(all, "\n  " + name + " ")) << name;
    EXPECT_TRUE(holds(main_page, "\\fB" + name + "\\fR")) << name;
    EXPECT_TRUE(holds(bash, "      " + name + ")")) << name;
    EXPECT_TRUE(holds(zsh, "        " + name + ")")) << name;
    EXPECT_TRUE(holds(own_help, c.summary)) << name;
    for (const auto& o : options_of(c)) {
      EXPECT_TRUE(holds(own, "\\fB" + troff(o.flag) + "\\fR")) << name << o.flag;
      EXPECT_TRUE(holds(own_help, std::string("  ") + o.flag)) << name << o.flag;
      EXPECT_TRUE(holds(zsh, std::string("'*") + o.flag + '[')) << name << o.flag;
      EXPECT_TRUE(holds(bash, o.flag)) << name << o.flag;
    }
  }
  EXPECT_EQ(pages.size(), shown + 1);
  for (const auto& e : chaos::abi::effect_table) {
    EXPECT_TRUE(holds(all, e.name)) << e.name;
    EXPECT_TRUE(holds(bash, std::string("          ") + e.name + ")")) << e.name;
  }
}

TEST(CommandTable, NamesAreUniqueAndOptionsBelongToACommand) {
  std::set<std::string> names, flags;
  for (const auto& c : all_commands()) EXPECT_TRUE(names.insert(c.name).second) << c.name;
  for (const auto& o : command_options()) {
    EXPECT_TRUE(names.contains(o.command)) << o.command;
    EXPECT_TRUE(flags.insert(std::string(o.command) + o.flag).second) << o.flag;
  }
  for (const auto& e : command_examples()) EXPECT_TRUE(names.contains(e.command)) << e.command;
}

// A flag takes a value everywhere or nowhere: completion of words behind it relies on that.
TEST(CommandTable, AFlagHasOneShape) {
  std::map<std::string, bool> shapes;
  for (const auto& c : all_commands())
    for (const auto& o : options_of(c)) EXPECT_EQ(shapes.emplace(o.flag, o.takes_value()).first->second, o.takes_value()) << c.name << o.flag;
}

TEST(CommandTable, OnlyTheseStartADaemon) {
  std::set<std::string> starting;
  for (const auto& c : all_commands())
    if (c.daemon == policy::starts) starting.insert(c.name);
  EXPECT_EQ(starting, (std::set<std::string>{"run", "set", "apply", "experiment", "schedule"}));
}

TEST(Help, ColumnsLineUpWhateverTheLetters) {
  const std::string text = help_of(*find_command("set")), meanings[] = {"the call fails with the errno", "data, results or answers come", "name resolution fails; a delay"};
  std::set<std::size_t> columns;
  for (const std::string& meaning : meanings) {
    const std::size_t at = text.find(meaning);
    ASSERT_NE(at, std::string::npos) << meaning;
    const std::size_t line = text.rfind('\n', at) + 1;
    columns.insert(width(std::string_view(text).substr(line, at - line)));
  }
  EXPECT_EQ(columns.size(), 1u);
}

TEST(ManPages, HoldNoLineThatTroffWouldTakeForARequest) {
  for (const auto& [file, text] : man_pages()) {
    std::size_t begin = 0;
    for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string line = text.substr(begin, end - begin);
      if (line.empty() || (line[0] != '.' && line[0] != '\'')) continue;
      bool known = false;
      for (const std::string request : {".TH ", ".SH ", ".TP", ".B ", ".I ", ".nf", ".fi"}) known = known || line.starts_with(request);
      EXPECT_TRUE(known) << file << ": " << line;
    }
  }
}

}  // namespace
