// examples/cached_lookup as a user runs it.
#include <gtest/gtest.h>

#include "chaos/redis_cache.hpp"
#include "process.hpp"
#include "redis_server.hpp"

namespace {
using namespace chaos_test;

class CachedLookup : public testing::Test {
 protected:
  temporary_folder folder;
  std::unique_ptr<process> run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), CACHED_LOOKUP);
    return std::make_unique<process>(arguments, folder.path / "out");
  }
};

TEST_F(CachedLookup, PrintsValueSourceAndAge) {
  redis_server redis;
  chaos::redis_cache client(redis.url());
  ASSERT_TRUE(client.set("greeting", "hello").has_value());
  auto p = run({"--redis", redis.url(), "greeting", "missing"});
  EXPECT_EQ(p->wait(), 0);
  EXPECT_EQ(p->output(),
            "greeting = hello  source=live age=0ms breaker=closed\n"
            "missing = (nil)  source=live age=0ms breaker=closed\n");
}

TEST_F(CachedLookup, AnswersFromMemoryWhileRedisIsDownAndLiveAfterwards) {
  redis_server redis;
  chaos::redis_cache client(redis.url());
  ASSERT_TRUE(client.set("k", "v").has_value());
  auto p = run({"--redis", redis.url(), "--repeat", "100000", "--interval-ms", "2", "--recovery-ms", "50", "k"});
  const auto shows = [&](const std::string& text) {
    return eventually([&] { return p->output().find(text) != std::string::npos; });
  };
  ASSERT_TRUE(shows("k = v  source=live")) << p->output();
  redis.stop();
  ASSERT_TRUE(shows("k = v  source=cache_stale")) << p->output();
  ASSERT_TRUE(shows("breaker=open")) << p->output();
  redis.start();
  chaos::redis_cache again(redis.url());
  ASSERT_TRUE(again.set("k", "new").has_value());
  ASSERT_TRUE(shows("k = new  source=live age=0ms breaker=closed")) << p->output();
  EXPECT_EQ(p->output().find("no answer"), std::string::npos);
}

TEST_F(CachedLookup, SaysWhyThereIsNoAnswer) {
  auto p = run({"--redis", "redis://127.0.0.1:" + std::to_string(free_port()), "k"});
  EXPECT_EQ(p->wait(), 1);
  EXPECT_NE(p->output().find("k = (no answer)  source=none"), std::string::npos) << p->output();
  EXPECT_NE(p->output().find("Connection refused"), std::string::npos);
}

TEST_F(CachedLookup, WrongUseHasItsOwnExitCodeAndText) {
  const std::pair<std::vector<std::string>, const char*> rows[] = {
      {{}, "no key is given"},
      {{"--repeat", "x", "k"}, "--repeat is \"x\""},
      {{"k", "--redis"}, "--redis needs a value"},
      {{"--frobnicate", "k"}, "unknown option --frobnicate"},
      {{"--redis", "http://h", "k"}, "the scheme is unknown"}};
  for (const auto& [arguments, text] : rows) {
    auto p = run(arguments);
    EXPECT_EQ(p->wait(), 2);
    EXPECT_NE(p->output().find(text), std::string::npos) << text << "\n" << p->output();
  }
}

}  // namespace
