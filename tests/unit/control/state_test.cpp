// state.json: comes back as it was, is replaced as a whole, and is kept aside when it can not be read.
#include "control/daemon/state_file.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>

#include "support.hpp"
#include "tests/support/parameter_names.hpp"

namespace chaos::daemon {
namespace {

using testing_support::read_file;
using testing_support::temporary_folder;

saved_state sample() {
  saved_state s;
  s.boot = boot_id();
  s.next_id = 8;
  s.seed = 42;
  s.clean = false;
  s.rules.push_back({*rules::spec_from_words(std::vector<std::string>{"latency", "redis:6379", "200ms", "--name", "slow"}), 7, 3, 1000, 500, 2, true});
  s.runs.push_back({2, 4711, 99});
  return s;
}

TEST(State, ComesBackAsItWas) {
  const temporary_folder folder;
  const state_file file(folder.path() + "/state.json");
  ASSERT_TRUE(file.save(sample()));
  std::string trouble;
  const saved_state s = file.load(trouble);
  EXPECT_EQ(trouble, "");
  EXPECT_EQ(s.next_id, 8u);
  EXPECT_EQ(s.seed, 42u);
  EXPECT_FALSE(s.clean);
  ASSERT_EQ(s.rules.size(), 1u);
  EXPECT_EQ(s.rules[0].spec, sample().rules[0].spec);
  EXPECT_EQ(s.rules[0].id, 7u);
  EXPECT_EQ(s.rules[0].slot, 3u);
  EXPECT_TRUE(s.rules[0].paused);
  EXPECT_EQ(s.runs[0].pid, 4711);
}

TEST(State, NoFileIsAFreshStart) {
  const temporary_folder folder;
  std::string trouble;
  EXPECT_TRUE(state_file(folder.path() + "/state.json").load(trouble).rules.empty());
  EXPECT_EQ(trouble, "");
}

class CorruptState : public testing::TestWithParam<const char*> {};
TEST_P(CorruptState, IsKeptAsideAndSaid) {
  const temporary_folder folder;
  const std::string path = folder.path() + "/state.json";
  std::ofstream(path) << GetParam();
  std::string trouble;
  const saved_state s = state_file(path).load(trouble);
  EXPECT_TRUE(s.rules.empty());
  EXPECT_NE(trouble.find("can not be read"), std::string::npos);
  EXPECT_NE(trouble.find(path + ".corrupt-"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path));
  unsigned kept = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) kept += read_file(entry.path()) == GetParam();
  EXPECT_EQ(kept, 1u) << "not a byte of it is lost";
}
INSTANTIATE_TEST_SUITE_P(All, CorruptState,
                         testing::Values("{", "[]", "null", "\x00\x01garbage", "{\"format\":2}", "{\"format\":1}",
                                         R"({"format":1,"boot":"","next_id":"x","next_run":1,"clean":true,"rules":[],"runs":[]})",
                                         R"({"format":1,"boot":"","next_id":1,"next_run":1,"clean":false,"rules":[{"rule":{"kind":"x"}}],"runs":[]})",
                                         R"({"format":1,"boot":"","next_id":1,"next_run":1,"clean":false,"rules":7,"runs":[]})",
                                         R"({"format":1,"boot":"","next_id":-1,"next_run":1,"clean":false,"rules":[],"runs":[]})",
                                         R"({"format":1,"boot":"","next_id":1,"next_run":1e300,"clean":false,"rules":[],"runs":[]})",
                                         R"({"format":1,"boot":"","next_id":4294967296,"next_run":1,"clean":false,"rules":[],"runs":[]})",
                                         R"({"format":1,"boot":"","next_id":1,"next_run":1,"clean":false,"rules":[],"runs":[{"id":1,"pid":2147483648,"start_ticks":1}]})",
                                         R"({"format":1,"boot":"","next_id":1,"next_run":1,"clean":false,"rules":[{"rule":{"kind":"observe","target":"a:1"},"id":1,"slot":256,"ends_at_ns":0,"remaining_ns":0,"run":0,"paused":false}],"runs":[]})"), testing_support::parameter_name);

TEST(State, DepthCostsNoStack) {
  const temporary_folder folder;
  const std::string path = folder.path() + "/state.json";
  std::ofstream(path) << "{\"format\":" << std::string(4'000'000, '[') << std::string(4'000'000, ']') << "}";
  std::string trouble;
  EXPECT_TRUE(state_file(path).load(trouble).rules.empty());
  EXPECT_NE(trouble, "");
}

TEST(State, WhatIsNoFileIsKeptAsideAndNotWaitedFor) {
  const temporary_folder folder;
  const std::string path = folder.path() + "/state.json";
  std::string trouble;
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_TRUE(state_file(path).load(trouble).rules.empty());
  EXPECT_NE(trouble.find("kept as"), std::string::npos);
  std::filesystem::create_directory(path);
  EXPECT_TRUE(state_file(path).load(trouble).rules.empty());
  EXPECT_NE(trouble, "");
}

TEST(State, AFullDiskLeavesTheOldFile) {
  const temporary_folder folder;
  const std::string path = folder.path() + "/state.json";
  const state_file file(path);
  ASSERT_TRUE(file.save(sample()));
  const std::string before = read_file(path);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{}, tight{};
  getrlimit(RLIMIT_FSIZE, &old);
  tight = old;
  tight.rlim_cur = 16;
  setrlimit(RLIMIT_FSIZE, &tight);
  const auto saved = file.save(saved_state{});
  setrlimit(RLIMIT_FSIZE, &old);
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code, rules::problem_code::not_saved);
  EXPECT_NE(saved.error().message.find("nothing was changed"), std::string::npos);
  EXPECT_EQ(read_file(path), before);
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
}

}  // namespace
}  // namespace chaos::daemon
