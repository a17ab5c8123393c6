// A rule in its four forms: words, INI, JSON, and the text that identifies it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "control/rules/rule_spec.hpp"
#include "tests/support/parameter_names.hpp"

namespace chaos::rules {
namespace {

using words = std::vector<std::string>;

rule_spec spec(const words& w) {
  const auto s = spec_from_words(w);
  EXPECT_TRUE(s) << (s ? "" : s.error().message);
  return s ? *s : rule_spec{};
}

const std::vector<words> samples = {
    {"latency", "redis:6379", "200ms", "--name", "slow", "--jitter", "5ms", "--distribution", "normal"},
    {"latency", "dns:*.example.com", "1s", "--forever", "--dry-run"},
    {"latency", "redis:6379", "--name", "tail", "--percentiles", "p50=1ms,p99=20ms"},
    {"error", "file:/var/lib/app/**", "EIO=3,ENOSPC=1", "--on", "write,fsync", "--late", "--probability", "10%"},
    {"down", "db:5432", "--how", "blackhole", "--process", "/usr/bin/python3*"},
    {"loss", "udp://*:53", "--model", "gemodel:1%,10%"},
    {"corrupt", "10.0.0.0/8,!10.1.0.0/16", "--bits", "2", "--when", "3..7+2"},
    {"slicer", "*:80", "--average-size", "16B", "--size-variation", "4B", "--delay", "1ms"},
    {"reset_peer", "redis:6379", "2s", "--toxicity", "0.5", "--scope", "process", "--times", "3"},
    {"enomem", "malloc", "--size", "1MiB..", "--pid", "4711"},
    {"observe", "*", "--everything", "--seed", "7"},
};

TEST(Spec, GoesFromWordsToIniToJsonAndBackUnchanged) {
  unsigned n = 0;
  for (const words& w : samples) {
    rule_spec first = spec(w);
    first.options.emplace(option::name_, "n" + std::to_string(n++));
    const auto text = ini_of(std::vector<rule_spec>{first});
    ASSERT_TRUE(text) << text.error().message;
    const auto from_ini = specs_from_ini(*text);
    ASSERT_TRUE(from_ini) << from_ini.error().message << "\n" << *text;
    ASSERT_EQ(from_ini->size(), 1u);
    EXPECT_EQ(from_ini->front(), first) << *text;
    const auto from_json = spec_from_json(nlohmann::json::parse(json_of(from_ini->front()).dump()));
    ASSERT_TRUE(from_json) << from_json.error().message;
    EXPECT_EQ(*from_json, first);
    EXPECT_EQ(spec(words_of(*from_json)), first);
  }
}

TEST(Spec, OptionsMayStandAnywhereAndWithAnEqualsSign) {
  const rule_spec wanted = spec({"latency", "redis:6379", "200ms", "--forever", "--jitter", "5ms"});
  EXPECT_EQ(spec({"latency", "--jitter=5ms", "redis:6379", "--forever", "200ms"}), wanted);
  EXPECT_EQ(spec({"--forever", "--jitter", "5ms", "latency", "redis:6379", "200ms"}), wanted);
  EXPECT_EQ(spec({"--jitter=5ms", "latency", "--forever", "redis:6379", "200ms"}), wanted);
}

TEST(Spec, NormalisedTextIsTheSameForTheSameRule) {
  EXPECT_EQ(normalised_text(spec({"latency", "redis:6379", "0.2s", "--probability", "10%", "--for", "1h", "--dry-run"})),
            normalised_text(spec({"latency", "redis:6379", "200ms", "--probability", "0.1", "--name", "x"})));
  EXPECT_NE(normalised_text(spec({"latency", "redis:6379", "200ms"})), normalised_text(spec({"latency", "redis:6379", "201ms"})));
  EXPECT_NE(normalised_text(spec({"latency", "redis:6379", "200ms"})), normalised_text(spec({"latency", "redis:6379", "200ms", "--seed", "1"})));
}

TEST(Spec, EverythingNeedsNoTarget) { EXPECT_EQ(spec({"observe", "--everything"}).target, "*"); }

TEST(Spec, LongListsSurviveTheShortLinesOfIni) {
  rule_spec s = spec({"latency", "x:1", "1ms", "--name", "long"});
  s.target = "a-rather-long-host-name-0.example.com:6379";
  for (int i = 1; i < 20; ++i) s.target += ",a-rather-long-host-name-" + std::to_string(i) + ".example.com:6379";
  const auto text = ini_of(std::vector<rule_spec>{s});
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ((*specs_from_ini(*text))[0].target, s.target);
}

TEST(Spec, IniRefusesWhatWouldComeBackDifferently) {
  rule_spec s = spec({"latency", "file:/tmp/a ;b", "1ms", "--name", "x"});
  const auto text = ini_of(std::vector<rule_spec>{s});
  ASSERT_FALSE(text);
  EXPECT_NE(text.error().message.find("'x'"), std::string::npos);
}

struct bad_words {
  words given;
  problem_code code;
  const char* part;  // of the message
};
class BadWords : public testing::TestWithParam<bad_words> {};
TEST_P(BadWords, AreRefused) {
  const auto s = spec_from_words(GetParam().given);
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().code, GetParam().code) << s.error().message;
  EXPECT_NE(s.error().message.find(GetParam().part), std::string::npos) << s.error().message;
}
INSTANTIATE_TEST_SUITE_P(
    All, BadWords,
    testing::Values(bad_words{{}, problem_code::missing_word, "kind"}, bad_words{{"latancy", "x:1"}, problem_code::unknown_kind, "did you mean 'latency'"},
                    bad_words{{"duplication", "tcp://x:1"}, problem_code::unknown_kind, "unknown kind 'duplication'"},
                    bad_words{{"latency"}, problem_code::missing_word, "target"},
                    bad_words{{"latency", "x:1", "1ms", "2ms"}, problem_code::unexpected_word, "'2ms'"},
                    bad_words{{"down", "x:1", "blackhole"}, problem_code::unexpected_word, "--how blackhole"},
                    bad_words{{"enomem", "malloc", "5%"}, problem_code::unexpected_word, "has no value"},
                    bad_words{{"latency", "x:1", "1ms", "--jiter", "1ms"}, problem_code::unknown_option, "did you mean '--jitter'"},
                    bad_words{{"latency", "x:1", "1ms", "-j", "1ms"}, problem_code::unknown_option, "-j"},
                    bad_words{{"latency", "x:1", "1ms", "--how", "refuse"}, problem_code::bad_combination, "belongs to down"},
                    bad_words{{"latency", "x:1", "1ms", "--jitter"}, problem_code::missing_word, "--jitter needs a value"},
                    bad_words{{"latency", "x:1", "1ms", "--dry-run=yes"}, problem_code::unexpected_word, "takes no value"},
                    bad_words{{"latency", "x:1", "1ms", "--seed", "1", "--seed", "2"}, problem_code::unexpected_word, "twice"},
                    bad_words{{"latency", "x:1\n", "1ms"}, problem_code::bad_value, "control character"},
                    bad_words{{"latency", "x\xff:1", "1ms"}, problem_code::bad_value, "UTF-8"}), testing_support::parameter_name);

struct bad_text {
  const char* text;
  problem_code code;
  const char* part;
};
class BadIni : public testing::TestWithParam<bad_text> {};
TEST_P(BadIni, IsRefused) {
  const auto s = specs_from_ini(GetParam().text);
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().code, GetParam().code) << s.error().message;
  EXPECT_NE(s.error().message.find(GetParam().part), std::string::npos) << s.error().message;
}
INSTANTIATE_TEST_SUITE_P(
    All, BadIni,
    testing::Values(bad_text{"kind = latency\n", problem_code::unknown_section, "before any section"},
                    bad_text{"[fult x]\nkind = latency\n", problem_code::unknown_section, "[fault NAME]"},
                    bad_text{"[fault x]\n", problem_code::bad_ini, "empty"}, bad_text{"[fault x]\nrubbish\n", problem_code::bad_ini, "line 2"},
                    bad_text{"[fault x]\nkind = latency\nkind = loss\n", problem_code::bad_ini, "twice"},
                    bad_text{"[fault x]\nkind=latency\ntarget=a:1\nvalue=1ms\n[fault y]\nkind=loss\ntarget=a:1\n[fault x]\nvalue=1\n", problem_code::bad_ini, "second section"},
                    bad_text{"[fault x]\ntarget = a:1\n", problem_code::missing_word, "kind"},
                    bad_text{"[fault x]\nkind = latency\nvalue = 1ms\n", problem_code::missing_word, "target"},
                    bad_text{"[fault x]\nkind = latency\ntarget = a:1\njiter = 1ms\n", problem_code::unknown_option, "[fault x]"},
                    bad_text{"[fault x]\nkind = latency\ntarget = a:1\nname = y\n", problem_code::unexpected_word, "title"},
                    bad_text{"[fault 17]\nkind = latency\ntarget = a:1\n", problem_code::bad_value, "look like an id"},
                    bad_text{"[fault x]\nkind = observe\ntarget = a:1\ndry_run = maybe\n", problem_code::bad_value, "neither true nor false"}), testing_support::parameter_name);

TEST(Ini, WhatIsWrongIsToldWithItsLine) {
  const std::string begin = "# rules\n[fault a]\nkind = latency\ntarget = a:1\nvalue = 5ms\n\n[fault b]\n";
  const auto said = [&](const std::string& more) {
    const auto s = specs_from_ini(begin + more);
    return s ? "accepted" : s.error().message;
  };
  for (const auto& [more, part] : {std::pair{"kind = latancy\ntarget = a:1\n", "line 8: [fault b]: unknown kind 'latancy'"},
                                   {"kind = latency\ntarget = a:1\njiter = 1ms\n", "line 10: [fault b]: unknown option '--jiter'"},
                                   {"kind = latency\nhow = refuse\ntarget = a:1\n", "line 9: [fault b]: --how has no meaning"},
                                   {"kind = latency\nvalue = 1ms\n", "line 7: [fault b]: a target is missing"},
                                   {"kind = latency\nkind = loss\n", "line 9: the key 'kind' stands twice"},
                                   {"kind = loss\ntarget = a:1\n[fault a]\nseed = 1\n", "line 10: there is a second section [fault a]"},
                                   {"nonsense\n", "line 8: 'nonsense' is neither"},
                                   {"dry_run = maybe\nkind = observe\ntarget = a:1\n", "line 8: [fault b]: "}})
    EXPECT_NE(said(more).find(part), std::string::npos) << more << said(more);
  const std::string text = begin + "kind = latency\ntarget = a:1\nvalue = 5\n";
  EXPECT_EQ(in_fault(text, "b", {problem_code::bad_value, "no unit", "5", {}}).message, "line 10: [fault b]: no unit") << "not line 5";
}

TEST(Ini, ALineTooLongForTheParserIsAnErrorAndNeverCut) {
  const auto s = specs_from_ini("[fault x]\nkind = latency\ntarget = " + std::string(300, 'a') + ":1\n");
  ASSERT_FALSE(s);
  EXPECT_NE(s.error().message.find("line 3"), std::string::npos);
}

TEST(Json, WrongTypesAreRefused) {
  for (const char* text : {"[]", "1", "{}", R"({"kind":1})", R"({"kind":"latency","target":5})", R"({"kind":"latency","target":"a:1","value":[]})",
                           R"({"kind":"latency","target":"a:1","jitter":{}})", R"({"kind":"latency","target":"a:1","dry_run":"maybe"})",
                           R"({"kind":"latency","target":"a:1","dry_run":1})", R"({"kind":"enomem","target":"malloc","value":"x"})"})
    EXPECT_FALSE(spec_from_json(nlohmann::json::parse(text))) << text;
}

}  // namespace
}  // namespace chaos::rules
