// What `chaos-ctl stress` understands, and the command line that comes of it. No stress-ng runs here.
#include "control/stress/plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace {

using namespace chaos::stress;

chaos::rules::result<plan> read(std::vector<std::string> words) { return plan_from_words(words); }

std::string line(const plan& p) {
  std::string out;
  for (const auto& w : command_line(p, "stress-ng", "/tmp/x", 4000)) out += (out.empty() ? "" : " ") + w;
  return out;
}

TEST(StressPlan, AmountsAreKnownByTheirForm) {
  auto p = read({"cpu", "2", "80%"});
  ASSERT_TRUE(p);
  EXPECT_EQ(text_of(*p), "cpu 2 80%");
  EXPECT_EQ(text_of(*read({"cpu", "80%", "2"})), "cpu 2 80%") << "in any order";
  EXPECT_EQ(text_of(*read({"memory", "200MB"})), "memory 200MB");
  EXPECT_EQ(text_of(*read({"disk", "1GiB", "3"})), "disk 1GiB 3");
  EXPECT_EQ(text_of(*read({"network"})), "network 1");
  EXPECT_GE(read({"cpu"})->workers, 1u);
  EXPECT_EQ(read({"cpu"})->load_percent, 100u);
}

TEST(StressPlan, EveryStressorsExampleIsUnderstoodAndFillsItsCommandLine) {
  for (const auto& row : all_stressors()) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : std::string(row.example) + " ")
      if (c != ' ') word += c;
      else words.push_back(std::exchange(word, ""));
    const auto p = read(words);
    ASSERT_TRUE(p) << row.example << ": " << p.error().message;
    EXPECT_EQ(text_of(*p), row.example);
    EXPECT_EQ(line(*p).find('{'), std::string::npos) << line(*p);
  }
}

TEST(StressPlan, TheCommandLineAlwaysHasAnEnd) {
  auto p = *read({"memory", "200MB"});
  p.length = std::chrono::milliseconds(1500);
  EXPECT_EQ(line(p), "stress-ng --vm 1 --vm-bytes 200000000 --vm-keep --vm-hang 0 --timeout 3s --temp-path /tmp/x --oomable --log-brief");
  EXPECT_EQ(line(*read({"cpu", "2", "80%"})), "stress-ng --cpu 2 --cpu-load 80 --timeout 31s --temp-path /tmp/x --oomable --log-brief");
  EXPECT_NE(line(*read({"network", "2"})).find("--sock 2 --sock-if lo --sock-port 4000 "), std::string::npos);
}

TEST(StressPlan, WrongWordsAreNamed) {
  const struct {
    std::vector<std::string> words;
    const char *word, *said;
  } rows[] = {
      {{}, "", "missing"},
      {{"memry", "1GB"}, "memry", "did you mean 'memory'"},
      {{"memory"}, "memory", "needs a size, such as memory 200MB"},
      {{"disk"}, "disk", "needs a size"},
      {{"memory", "200"}, "200", "has no unit"},
      {{"memory", "0"}, "0", "too little"},
      {{"memory", "1KB"}, "1KB", "less than 1MiB"},
      {{"memory", "200MX"}, "200MX", "unknown unit"},
      {{"memory", "200MB", "80%"}, "80%", "takes no load"},
      {{"cpu", "200MB"}, "200MB", "takes no size"},
      {{"network", "50%"}, "50%", "takes no load"},
      {{"cpu", "0"}, "0", "from 1"},
      {{"cpu", "65"}, "65", "more than 64"},
      {{"cpu", "101%"}, "101", "more than 100"},
      {{"cpu", "x%"}, "x", "cpu load"},
      {{"cpu", "2", "3"}, "3", "a second time"},
      {{"memory", "1GB", "2GB"}, "2GB", "a second time"},
      {{"disk", "-5MB"}, "-5MB", "negative"},
  };
  for (const auto& row : rows) {
    const auto p = read(row.words);
    ASSERT_FALSE(p) << row.said;
    EXPECT_EQ(p.error().word, row.word) << p.error().message;
    EXPECT_NE(p.error().message.find(row.said), std::string::npos) << p.error().message;
  }
}

TEST(StressPlan, LengthsAreBounded) {
  EXPECT_EQ(parse_length("--for", "1.5s")->count(), 1'500'000'000);
  for (const char* wrong : {"0", "5", "99ms", "2h", "forever", ""}) EXPECT_FALSE(parse_length("--for", wrong)) << wrong;
}

}  // namespace
