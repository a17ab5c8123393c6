// The command line: what was typed arrives as it was typed, and a wrong word is answered with the right one.
#include "control/cli/invocation.hpp"

#include <gtest/gtest.h>

#include "control/rules/rule_spec.hpp"
#include "tests/support/parameter_names.hpp"

namespace {

using namespace chaos::cli;
using chaos::rules::name_of;

struct parsed {
  invocation what;
  std::string code;  // empty: no error
  std::string word, message;
};

parsed parse(std::vector<std::string> typed) {
  parsed p;
  const auto r = parse_command_line(typed, p.what);
  if (!r) p.code = name_of(r.error().code), p.word = r.error().word, p.message = r.error().message;
  return p;
}

using words = std::vector<std::string>;

TEST(CommandLine, TakesCommonOptionsBeforeAndAfterTheCommand) {
  for (const auto& typed : {words{"--json", "--session", "ci", "list"}, words{"list", "--json", "--session", "ci"}, words{"--session=ci", "list", "--json"}}) {
    const auto p = parse(typed);
    EXPECT_EQ(p.code, "");
    EXPECT_STREQ(p.what.command->name, "list");
    EXPECT_TRUE(p.what.json);
    EXPECT_EQ(p.what.session, "ci");
    EXPECT_TRUE(p.what.words.empty());
  }
}

TEST(CommandLine, HandsTheWordsOfARuleOnAsTheyAre) {
  const auto p = parse({"set", "--json", "latency", "[::1]:80,!10.0.0.1", "200ms", "--jitter", "5ms", "--when=XOOX", "--session", "a", "--dry-run"});
  EXPECT_EQ(p.code, "");
  EXPECT_EQ(p.what.words, (words{"latency", "[::1]:80,!10.0.0.1", "200ms", "--jitter", "5ms", "--when=XOOX", "--dry-run"}));
  EXPECT_EQ(p.what.session, "a");
  EXPECT_TRUE(p.what.json);
}

TEST(CommandLine, AValueOfARuleMayLookLikeAnOption) {
  for (const auto& typed : {words{"--name", "--mine"}, words{"--name=--json"}}) {
    words all{"set", "observe", "malloc"};
    all.insert(all.end(), typed.begin(), typed.end());
    const auto p = parse(all);
    EXPECT_FALSE(p.what.json);
    EXPECT_EQ(p.what.words, (words(all.begin() + 1, all.end())));
  }
  // But one that it is: the value is missing, and whoever reads the rule says so.
  const auto p = parse({"set", "observe", "malloc", "--name", "--json"});
  EXPECT_TRUE(p.what.json);
  EXPECT_EQ(p.what.words, (words{"observe", "malloc", "--name"}));
}

TEST(CommandLine, LeavesEverythingBehindTheProgramToTheProgram) {
  for (const auto& typed : {words{"run", "--set", "enomem malloc", "--", "ls", "--json", "--help"}, words{"run", "--set", "enomem malloc", "ls", "--json", "--help"}}) {
    const auto p = parse(typed);
    EXPECT_EQ(p.code, "");
    EXPECT_EQ(p.what.words, (words{"ls", "--json", "--help"}));
    EXPECT_FALSE(p.what.help);
    EXPECT_EQ(p.what.options.at("--set"), words{"enomem malloc"});
  }
}

TEST(CommandLine, HelpIsACommandToo) {
  EXPECT_TRUE(parse({"help"}).what.help);
  const auto p = parse({"help", "set"});
  EXPECT_EQ(p.code, "");
  EXPECT_TRUE(p.what.help);
  EXPECT_STREQ(p.what.command->name, "set");
  EXPECT_EQ(parse({"set", "observe", "help"}).what.words, (words{"observe", "help"}));
}

TEST(CommandLine, RepeatsOptionsThatMayBeRepeated) {
  EXPECT_EQ(parse({"run", "--set", "a", "--set=b", "--", "x"}).what.options.at("--set"), (words{"a", "b"}));
}

struct wrong { words typed; const char* code; const char* word; const char* says; };
class WrongCommandLine : public testing::TestWithParam<wrong> {};
TEST_P(WrongCommandLine, IsAnsweredWithTheWordAndWhatWouldBeRight) {
  const auto& w = GetParam();
  const auto p = parse(w.typed);
  EXPECT_EQ(p.code, w.code);
  EXPECT_EQ(p.word, w.word);
  EXPECT_NE(p.message.find(w.says), std::string::npos) << p.message;
}
INSTANTIATE_TEST_SUITE_P(All, WrongCommandLine, testing::Values(
    wrong{{}, "missing_word", "", "--help"},
    wrong{{"--json"}, "missing_word", "", "--help"},
    wrong{{"lits"}, "unknown_command", "lits", "list"},
    wrong{{"--sesion", "x", "list"}, "unknown_option", "--sesion", "--session"},
    wrong{{"list", "--al"}, "unknown_option", "--al", "list --help"},
    wrong{{"rm", "--al"}, "unknown_option", "--al", "--all"},
    wrong{{"rm", "--all=yes"}, "unexpected_word", "--all=yes", "takes no value"},
    wrong{{"list", "--session"}, "missing_word", "--session", "NAME"},
    wrong{{"list", "--session="}, "missing_word", "--session", "needs a value"},
    wrong{{"run", "--set", "--", "ls"}, "missing_word", "--set", "RULE"},
    wrong{{"run", "--sett", "--", "ls"}, "unknown_option", "--sett", "--set"},
    wrong{{"set", "latency", "a:1", "1ms", "--jiter", "1ms"}, "unknown_option", "--jiter", "--jitter"},
    wrong{{"watch", "--last"}, "missing_word", "--last", "N"},
    wrong{{"-x"}, "unknown_option", "-x", "-x"}), chaos::testing_support::parameter_name);

TEST(SplitWords, DoesAsAShell) {
  EXPECT_EQ(*chaos::rules::split_words("latency redis:6379 200ms"), (words{"latency", "redis:6379", "200ms"}));
  EXPECT_EQ(*chaos::rules::split_words("  a\t'b c' \"d \\\" e\" f\\ g ''  "), (words{"a", "b c", "d \" e", "f g", ""}));
  EXPECT_TRUE(chaos::rules::split_words("")->empty());
  EXPECT_FALSE(chaos::rules::split_words("a 'b").ok());
  EXPECT_FALSE(chaos::rules::split_words("a \"b").ok());
}

}  // namespace
