// "Did you mean …?": what people write who come from other tools, and slips. A suggestion that is refused in its turn would be worse
// than none.
#include "control/rules/suggest.hpp"

#include <gtest/gtest.h>

#include "control/rules/compile.hpp"
#include "control/rules/rule_spec.hpp"

namespace chaos::rules {
namespace {

using words = std::vector<std::string>;

TEST(Nearest, FindsCasesBeginningsSlipsAndParts) {
  const words kinds{"latency", "loss", "reset_peer", "http_error", "pause"};
  for (const auto& [word, ours] : std::vector<std::pair<std::string, std::string>>{
           {"Latency", "latency"}, {"reset-peer", "reset_peer"}, {"lat", "latency"}, {"reset", "reset_peer"}, {"latancy", "latency"}, {"lantecy", "latency"},
           {"packet_loss", "loss"}, {"peer", "reset_peer"}, {"latency_injection", "latency"}})
    EXPECT_EQ(nearest(word, kinds), ours) << word;
  const words flags{"--probability", "--drop", "--process", "--pid", "--process-wide", "--dry-run"};
  for (const auto& [word, ours] : std::vector<std::pair<std::string, std::string>>{
           {"--prob", "--probability"}, {"--dryrun", "--dry-run"}, {"--dry_run", "--dry-run"}, {"-probability", "--probability"}, {"--procces", "--process"}})
    EXPECT_EQ(nearest(word, flags), ours) << word;
}

TEST(Nearest, SaysNothingWhenNothingIsNearOrMuchIs) {
  for (const char* word : {"zzzzzz", "", "-", "--", "x", "loxy"}) EXPECT_EQ(nearest(word, {"latency", "loss"}), "") << word;
  EXPECT_EQ(nearest("pro", {"--probability", "--process"}), "");
  EXPECT_EQ(nearest(std::string(65, 'l'), {std::string(65, 'l')}), "");
}

TEST(Meant, WordsOfOtherToolsHaveOursAndOursAreUnderstood) {
  struct row {
    problem_code code;
    std::string word, ours;
  };
  const row rows[] = {
#define OTHER_WORD(code, word, ours) {problem_code::code, #word, ours},
#include "control/rules/other_words.def"
#undef OTHER_WORD
  };
  for (const row& r : rows) {
    const std::string first = r.ours.substr(0, r.ours.find(' '));
    EXPECT_EQ(meant(r.code, r.word, {first, "unlike"}), r.ours);
    EXPECT_EQ(meant(r.code, r.word, {"qqqqqqqqq"}), "") << "offers what may not stand there: " << r.ours;
    if (r.code == problem_code::unknown_kind) {
      EXPECT_TRUE(find_kind(first)) << first;
      EXPECT_FALSE(find_kind(r.word)) << r.word << " is a kind";
    } else if (r.code == problem_code::unknown_option) {
      EXPECT_TRUE(find_option(first)) << first;
      EXPECT_FALSE(find_option(r.word)) << r.word << " is an option";
    }
  }
}

TEST(Meant, WhatIsSuggestedIsAccepted) {
  for (const auto& [wrong, right] : std::vector<std::pair<words, std::string>>{
           {{"delay", "redis:6379", "200ms"}, "latency"},
           {{"reset", "redis:6379"}, "reset_peer"},
           {{"loss", "redis:6379", "1%", "--p", "5%"}, "--probability"},
           {{"loss", "redis:6379", "1%", "--duration", "30s"}, "--for"},
           {{"error", "redis:6379", "econnreset"}, "ECONNRESET"},
           {{"error", "redis:6379", "104"}, "ECONNRESET"},
           {{"dns", "dns:redis", "NXDOMAIN"}, "EAI_NONAME"}}) {
    compile_setting setting;
    setting.id = setting.slot = 1;
    const auto problem_of = [&](const words& w) -> std::optional<problem> {
      const auto spec = spec_from_words(w);
      if (!spec) return spec.error();
      const auto compiled = compile(*spec, setting);
      return compiled ? std::nullopt : std::optional<problem>(compiled.error());
    };
    const auto p = problem_of(wrong);
    ASSERT_TRUE(p) << wrong[0];
    EXPECT_NE(p->message.find("did you mean '" + right + "'?"), std::string::npos) << p->message;
    words mended = wrong;
    for (std::string& word : mended)
      if (word == p->word) word = right;
    EXPECT_FALSE(problem_of(mended)) << right;
  }
}

// Every option has an example, which is a rule as it stands; and it says what may stand behind the option.
TEST(Options, ExamplesAreRules) {
  compile_setting setting;
  setting.id = setting.slot = 1;
  for (unsigned i = 0; i < option_count; ++i) {
    const auto o = static_cast<option>(i);
    const auto parts = split_words(info_of(o).example);
    ASSERT_TRUE(parts);
    const auto spec = spec_from_words(*parts);
    ASSERT_TRUE(spec) << info_of(o).example << ": " << spec.error().message;
    EXPECT_TRUE(spec->has(o)) << info_of(o).example;
    const auto compiled = compile(*spec, setting);
    EXPECT_TRUE(compiled) << info_of(o).example << ": " << compiled.error().message;
    const std::string with = example_of(o);
    EXPECT_NE(std::string(info_of(o).example).find(with), std::string::npos);
    EXPECT_EQ(with, flag_of(o) + (info_of(o).form == option_form::flag ? "" : " " + spec->get(o)));
  }
}

}  // namespace
}  // namespace chaos::rules
