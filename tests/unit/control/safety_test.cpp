// What may be put in force: the switch, the stop file, and how far the rules of experiments may reach.
#include "control/daemon/safety.hpp"

#include "support.hpp"

namespace chaos::testing_support {
namespace {

using daemon::safety;
using daemon::settings;

rules::rule_spec rule(const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{"latency", "127.0.0.1:6379", "1ms"};
  words.insert(words.end(), more.begin(), more.end());
  return *rules::spec_from_words(words);
}

bool allowed(const settings& how, const std::vector<std::string>& more) { return safety(how).within_radius({rule(more)}).ok(); }

TEST(Safety, NothingBeginsWhenDisabledOrWhileTheStopFileIsThere) {
  const temporary_folder folder;
  settings how;
  how.stop_file = folder.path() + "/stop";
  EXPECT_TRUE(safety(how).may_begin());
  std::ofstream(how.stop_file) << "";
  EXPECT_TRUE(safety(how).stopped());
  EXPECT_EQ(safety(how).may_begin().error().code, rules::problem_code::not_allowed);
  unlink(how.stop_file.c_str());
  how.enabled = false;
  EXPECT_NE(safety(how).may_begin().error().message.find("enabled = false"), std::string::npos);
}

TEST(Safety, AFolderOfThatNameIsNoStopFile) {
  const temporary_folder folder;
  settings how;
  how.stop_file = folder.path();
  EXPECT_FALSE(safety(how).stopped());
}

TEST(Safety, TheRadiusIsTheWholeWorldUnlessSaid) {
  EXPECT_TRUE(allowed({}, {}));
  EXPECT_TRUE(allowed({}, {"--toxicity", "100%"}));
}

TEST(Safety, EverythingMustBeNarrowed) {
  EXPECT_FALSE(allowed({}, {"--everything"}));
  EXPECT_TRUE(allowed({}, {"--everything", "--process", "shop"}));
  EXPECT_TRUE(allowed({}, {"--everything", "--toxicity", "10%"}));
  settings off;
  off.safety = false;
  EXPECT_TRUE(allowed(off, {"--everything"}));
}

TEST(Safety, ToxicityHasALimit) {
  settings how;
  how.max_toxicity = "25%";
  EXPECT_TRUE(allowed(how, {"--toxicity", "0.25"}));
  EXPECT_FALSE(allowed(how, {"--toxicity", "0.26"}));
  EXPECT_FALSE(allowed(how, {})) << "no --toxicity is all of them";
}

TEST(Safety, OnlyProcessesThatAreNamed) {
  settings how;
  how.only_processes = {"shop*", "redis-server"};
  EXPECT_TRUE(allowed(how, {"--process", "shop-2"}));
  EXPECT_TRUE(allowed(how, {"--process", "shop*"}));
  EXPECT_TRUE(allowed(how, {"--process", "redis-server"}));
  EXPECT_FALSE(allowed(how, {"--process", "*"}));
  EXPECT_FALSE(allowed(how, {"--process", "redis-*"}));
  EXPECT_FALSE(allowed(how, {}));
  EXPECT_FALSE(allowed(how, {"--pid", "1"}));
}

}  // namespace
}  // namespace chaos::testing_support
