// The value parsers: what they take, and above all what they refuse and how.
#include "control/rules/values.hpp"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/support/parameter_names.hpp"

namespace chaos::rules {
namespace {

constexpr std::uint64_t ms = 1'000'000;

TEST(Duration, ReadsNumbersWithUnits) {
  EXPECT_EQ(*parse_duration("x", "200ms"), 200 * ms);
  EXPECT_EQ(*parse_duration("x", "1.5s"), 1500 * ms);
  EXPECT_EQ(*parse_duration("x", "50us"), 50'000u);
  EXPECT_EQ(*parse_duration("x", "0.1ms"), 100'000u);
  EXPECT_EQ(*parse_duration("x", "10min"), 600'000 * ms);
  EXPECT_EQ(*parse_duration("x", "0"), 0u);
}

TEST(Duration, IsWrittenInTheLargestWholeUnit) {
  for (const char* text : {"200ms", "1500ms", "50us", "10min", "1h", "7ns", "90s"}) {
    EXPECT_EQ(format_duration(*parse_duration("x", text)), text);
  }
  EXPECT_EQ(format_duration(*parse_duration("x", "0.2s")), "200ms");
}

TEST(Duration, ARangeHasTwoEndsOrOne) {
  EXPECT_EQ(parse_duration_range("x", "100ms..1s")->least_ns, 100 * ms);
  EXPECT_EQ(parse_duration_range("x", "100ms..1s")->most_ns, 1000 * ms);
  EXPECT_EQ(parse_duration_range("x", "5ms")->least_ns, parse_duration_range("x", "5ms")->most_ns);
  EXPECT_EQ(parse_duration_range("x", "0..0")->most_ns, 0u);
  for (const char* text : {"", "..", "1s..", "..1s", "1s..100ms", "1..2", "1s...2s", "1s..2s..3s", "-1s..2s", "a..b"}) EXPECT_FALSE(parse_duration_range("x", text)) << text;
}

TEST(Duration, RefusesABareNumberAndNamesTheUnits) {
  const auto r = parse_duration("--jitter", "200");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, problem_code::bad_value);
  EXPECT_EQ(r.error().word, "200");
  EXPECT_NE(r.error().message.find("--jitter"), std::string::npos);
  EXPECT_NE(r.error().message.find("ns, us, ms, s, min, h, d"), std::string::npos);
  EXPECT_NE(std::find(r.error().expected.begin(), r.error().expected.end(), "200ms"), r.error().expected.end());
}

class BadDuration : public testing::TestWithParam<const char*> {};
TEST_P(BadDuration, IsRefused) { EXPECT_FALSE(parse_duration("x", GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(All, BadDuration,
                         testing::Values("", "ms", "-5ms", "1.2.3s", ".5s", "5.s", "1e3ms", "200 ms", "200Ms", "200msx", "0x10s",
                                         "nan", "inf", "99999999999999999999999s", "400d", "1s ", " 1s", "1,5s", "1m"), testing_support::parameter_name);

TEST(Duration, SuggestsTheNearestUnit) {
  EXPECT_EQ(parse_duration("x", "20mS").error().expected.front(), "20ms");
}

TEST(Size, ReadsThousandsAnd1024s) {
  EXPECT_EQ(*parse_size("x", "64KB"), 64'000u);
  EXPECT_EQ(*parse_size("x", "64KiB"), 65'536u);
  EXPECT_EQ(*parse_size("x", "1.5MiB"), 1'572'864u);
  EXPECT_EQ(*parse_size("x", "7B"), 7u);
  EXPECT_EQ(format_probability(*parse_probability("x", "1%")), "0.01");
  EXPECT_EQ(format_probability(*parse_probability("x", "0.333")), "0.333");
  EXPECT_EQ(format_size(65'536), "64KiB");
  EXPECT_EQ(format_size(64'000), "64KB");
}

class BadSize : public testing::TestWithParam<const char*> {};
TEST_P(BadSize, IsRefused) { EXPECT_FALSE(parse_size("x", GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(All, BadSize, testing::Values("", "64", "64kb", "64K", "-1B", "KB", "64 KB", "1PB", "9999999999TiB", "1..2KB"), testing_support::parameter_name);

TEST(Rate, IsASizeASecond) {
  EXPECT_EQ(*parse_rate("x", "100KB/s"), 100'000u);
  for (const char* text : {"100KB", "100/s", "0/s", "/s", "", "100KB/m", "fast"}) EXPECT_FALSE(parse_rate("x", text)) << text;
}

TEST(Probability, ReadsSharesAndPercent) {
  EXPECT_EQ(*parse_probability("x", "0"), 0u);
  EXPECT_EQ(*parse_probability("x", "1"), abi::certain);
  EXPECT_EQ(*parse_probability("x", "100%"), abi::certain);
  EXPECT_EQ(*parse_probability("x", "0.5"), abi::certain / 2);
  EXPECT_EQ(*parse_probability("x", "50%"), abi::certain / 2);
  EXPECT_GT(*parse_probability("x", "0.00000000000001"), 0u) << "0 is never, and only 0 is";
}

class BadProbability : public testing::TestWithParam<const char*> {};
TEST_P(BadProbability, IsRefused) { EXPECT_FALSE(parse_probability("x", GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(All, BadProbability,
                         testing::Values("", "%", "-0.1", "1.1", "101%", "10", "ten", "0.1.2", "10%%", "1e-3", " 0.1", "0,1"), testing_support::parameter_name);

TEST(Probability, GuessesThatPercentWereMeant) { EXPECT_EQ(parse_probability("x", "10").error().expected.front(), "10%"); }

TEST(Counts, AreWholeAndPositive) {
  EXPECT_EQ(*parse_count("x", "3"), 3u);
  for (const char* text : {"", "0", "-1", "1.5", "3x", "99999999999999999999"}) EXPECT_FALSE(parse_count("x", text)) << text;
  EXPECT_EQ(*parse_seed("x", "0"), 0u);
  EXPECT_EQ(*parse_pid("x", "4194304"), 4'194'304u);
  for (const char* text : {"", "0", "-1", "4194305", "self"}) EXPECT_FALSE(parse_pid("x", text)) << text;
}

TEST(SizeRange, HasOpenEnds) {
  EXPECT_EQ(parse_size_range("x", "4KiB..1MiB")->low, 4096u);
  EXPECT_EQ(parse_size_range("x", "4KiB..1MiB")->high, 1'048'576u);
  EXPECT_EQ(parse_size_range("x", "64KB..")->high, UINT64_MAX);
  EXPECT_EQ(parse_size_range("x", "..1KB")->low, 0u);
  EXPECT_EQ(parse_size_range("x", "8B")->low, 8u);
  for (const char* text : {"", "..", "1MiB..4KiB", "4096..8192", "1KB...2KB", "a..b", "1KB-2KB"}) EXPECT_FALSE(parse_size_range("x", text)) << text;
}

struct when_case {
  const char* text;
  std::uint32_t first, last, step;
};
class When : public testing::TestWithParam<when_case> {};
TEST_P(When, ReadsStracesGrammar) {
  const auto w = parse_when("--when", GetParam().text);
  ASSERT_TRUE(w);
  EXPECT_EQ(w->first, GetParam().first);
  EXPECT_EQ(w->last, GetParam().last);
  EXPECT_EQ(w->step, GetParam().step);
  EXPECT_EQ(w->pattern_length, 0u);
}
INSTANTIATE_TEST_SUITE_P(All, When, testing::Values(when_case{"3", 3, 0, 0}, when_case{"3+", 3, 0, 1}, when_case{"3+2", 3, 0, 2},
                                                    when_case{"3..7", 3, 7, 1}, when_case{"3..7+2", 3, 7, 2}), testing_support::parameter_name);

TEST(WhenPattern, IsBitsFromTheFirstCall) {
  const auto w = parse_when("--when", "XOOX");
  ASSERT_TRUE(w);
  EXPECT_EQ(w->pattern_length, 4u);
  EXPECT_EQ(w->pattern, 0b1001u);
  EXPECT_TRUE(parse_when("--when", std::string(64, 'X')));
}

class BadWhen : public testing::TestWithParam<const char*> {};
TEST_P(BadWhen, IsRefused) { EXPECT_FALSE(parse_when("--when", GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(All, BadWhen, testing::Values("", "0", "0+", "-1", "3-7", "7..3", "3..", "..7", "3++", "3+0", "3..7+", "3..7+0",
                                                       "OOO", "XOY", "xoox", "3X", "99999999999", "3+2+1", "1..2..3"), testing_support::parameter_name);
TEST(WhenPattern, HasRoomFor64) { EXPECT_FALSE(parse_when("--when", std::string(65, 'X'))); }

TEST(Errors, HaveWeights) {
  const auto e = parse_errors("value", "ECONNRESET=3,EPIPE");
  ASSERT_TRUE(e);
  ASSERT_EQ(e->size(), 2u);
  EXPECT_EQ((*e)[0].error, ECONNRESET);
  EXPECT_EQ((*e)[0].weight, 3u);
  EXPECT_EQ((*e)[1].weight, 1u);
  EXPECT_EQ((*parse_errors("value", "EWOULDBLOCK"))[0].error, EAGAIN);
  EXPECT_TRUE((*parse_errors("value", "EAI_AGAIN"))[0].of_names);
}

TEST(Errors, UnknownOnesGetASuggestion) {
  const auto e = parse_errors("value", "ECONRESET");
  ASSERT_FALSE(e);
  EXPECT_EQ(e.error().code, problem_code::unknown_errno);
  EXPECT_NE(e.error().message.find("did you mean 'ECONNRESET'"), std::string::npos);
}

class BadErrors : public testing::TestWithParam<const char*> {};
TEST_P(BadErrors, AreRefused) { EXPECT_FALSE(parse_errors("value", GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(All, BadErrors, testing::Values("", ",", "EPIPE,", "EPIPE=", "EPIPE=0", "EPIPE=-1", "EPIPE=x", "EPIPE,EPIPE",
                                                         "104", "econnreset", "EPIPE=9999999", "=3"), testing_support::parameter_name);

TEST(Percentiles, RiseFromLeftToRight) {
  const auto p = parse_percentiles("x", "p50=10ms,p99.9=200ms");
  ASSERT_TRUE(p);
  EXPECT_EQ((*p)[0].millionths, 500'000u);
  EXPECT_EQ((*p)[1].millionths, 999'000u);
  EXPECT_EQ((*p)[1].value_ns, 200 * ms);
  for (const char* text : {"", "p50", "50=10ms", "p50=10", "p101=1s", "p99=10ms,p50=20ms", "p50=20ms,p99=10ms", "p50=1ms,p50=2ms",
                           "p1=1ms,p2=1ms,p3=1ms,p4=1ms,p5=1ms,p6=1ms,p7=1ms,p8=1ms,p9=1ms"})
    EXPECT_FALSE(parse_percentiles("x", text)) << text;
}

TEST(Model, FillsInNetemsDefaults) {
  const auto m = parse_model("x", "gemodel:1%");
  ASSERT_TRUE(m);
  EXPECT_EQ(m->gemodel[1], abi::certain - m->gemodel[0]);
  EXPECT_EQ(m->gemodel[2], abi::certain);
  EXPECT_EQ(m->gemodel[3], 0u);
  for (const char* text : {"", "gemodel", "gemodel:", "gemodel:2", "gemodel:1%,1%,1%,1%,1%", "markov"}) EXPECT_FALSE(parse_model("x", text)) << text;
}

TEST(Names, CanNotBeMistakenForIdsOrOptions) {
  EXPECT_TRUE(check_name("x", "slow-redis.2"));
  for (const std::string& text : {std::string(), std::string("17"), std::string("-x"), std::string("a b"), std::string("a]"), std::string(41, 'a')})
    EXPECT_FALSE(check_name("x", text)) << text;
}

}  // namespace
}  // namespace chaos::rules
