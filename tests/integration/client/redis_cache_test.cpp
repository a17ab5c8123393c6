// chaos::redis_cache on a real redis-server: values with their source, outages of each kind, and what L1 may say.
#include "chaos/redis_cache.hpp"

#include <gtest/gtest.h>

#include "redis_server.hpp"

namespace {
using namespace chaos_test;
using chaos::failure_kind;
using chaos::source;
using chaos::state;

chaos::redis_cache_settings quick() {
  return {.timeout = 50ms,
          .l1_fresh = 0s,
          .breaker = {.failure_threshold = 3, .recovery_timeout = 50ms, .success_threshold = 1}};
}

class RedisCache : public testing::Test {
 protected:
  redis_server server;
};

TEST_F(RedisCache, SaysWhereTheValueComesFrom) {
  auto s = quick();
  chaos::manual_clock clock;
  s.l1_fresh = 5s;
  s.breaker.clock = &clock;
  chaos::redis_cache cache(server.url(), s);
  ASSERT_TRUE(cache.set("k", "v").has_value());
  ASSERT_TRUE(cache.set("other", "w").has_value());
  chaos::redis_cache second(server.url(), s);
  auto live = second.get("k");
  ASSERT_TRUE(live.has_value()) << live.error().message();
  EXPECT_EQ(**live, "v");
  EXPECT_EQ(live.source(), source::live);
  clock.advance(2s);
  auto fresh = second.get("k");
  EXPECT_EQ(fresh.source(), source::cache_fresh);
  EXPECT_EQ(fresh.age(), 2s);
  clock.advance(10s);
  EXPECT_EQ(second.get("k").source(), source::live) << "no longer fresh: asked again";
  server.stop();
  clock.advance(10s);
  auto stale = second.get("k");
  ASSERT_TRUE(stale.has_value());
  EXPECT_EQ(**stale, "v");
  EXPECT_EQ(stale.source(), source::cache_stale);
  EXPECT_EQ(stale.age(), 10s);
  ASSERT_NE(stale.cause(), nullptr);
  EXPECT_EQ(stale.cause()->kind, failure_kind::error);
  EXPECT_FALSE(second.get("never seen").has_value());
}

TEST_F(RedisCache, AMissIsAValueAndClearsL1) {
  chaos::redis_cache cache(server.url(), quick()), other(server.url(), quick());
  ASSERT_TRUE(cache.set("k", "v").has_value());
  ASSERT_TRUE(*other.del("k"));
  EXPECT_FALSE(*other.del("k"));
  auto gone = cache.get("k");
  ASSERT_TRUE(gone.has_value());
  EXPECT_EQ(*gone, std::nullopt);
  server.stop();
  EXPECT_FALSE(cache.get("k").has_value()) << "L1 does not bring back what Redis has deleted";
}

TEST_F(RedisCache, OpensWhenTheServerIsGoneAndClosesWhenItIsBack) {
  chaos::redis_cache cache(server.url(), quick());
  ASSERT_TRUE(cache.set("k", "v").has_value());
  server.stop();
  for (int i = 0; i < 3; ++i) (void)cache.get("k");
  EXPECT_EQ(cache.circuit().state(), state::open);
  const auto connects = cache.connects();
  auto r = cache.get("k");
  EXPECT_EQ(r.cause()->kind, failure_kind::open);
  EXPECT_EQ(r.source(), source::cache_stale);
  EXPECT_EQ(cache.connects(), connects) << "while open nothing is tried";
  server.start();
  ASSERT_TRUE(eventually([&] { return cache.get("k").source() == source::live; }));
  EXPECT_EQ(cache.circuit().state(), state::closed);
}

TEST_F(RedisCache, ARestartOfTheServerIsNoFailure) {
  chaos::redis_cache cache(server.url(), quick());
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(cache.set("k", "v").has_value());
    server.stop();
    server.start();
  }
  EXPECT_EQ(cache.circuit().metrics().failed, 0u) << "idle connections that the server closed are not used";
  EXPECT_EQ(cache.connects(), 5u);
}

TEST_F(RedisCache, AHangingServerIsATimeoutAndTheConnectionIsNotUsedAgain) {
  chaos::redis_cache cache(server.url(), quick());
  ASSERT_TRUE(cache.set("a", "1").has_value());
  ASSERT_TRUE(cache.set("b", "2").has_value());
  server.hang();
  auto r = cache.get("a");
  ASSERT_NE(r.cause(), nullptr);
  EXPECT_EQ(r.cause()->kind, failure_kind::timeout) << r.cause()->message();
  EXPECT_EQ(r.source(), source::cache_stale);
  server.wake();
  auto b = cache.get("b");
  ASSERT_EQ(b.source(), source::live) << (b.cause() ? b.cause()->message() : "");
  EXPECT_EQ(**b, "2") << "not the late answer to the question for a";
}

TEST_F(RedisCache, AnErrorReplyIsASuccessOfTheTransport) {
  chaos::redis_cache cache(server.url(), quick());
  ASSERT_TRUE(cache.send({"LPUSH", "list", "x"}).has_value());
  for (int i = 0; i < 20; ++i) {
    auto r = cache.get("list");
    ASSERT_FALSE(r.has_value());
    EXPECT_THROW((void)r.value(), chaos::redis_error);
    EXPECT_EQ(r.error().message().substr(0, 9), "WRONGTYPE");
  }
  EXPECT_EQ(cache.circuit().state(), state::closed);
  EXPECT_EQ(cache.circuit().metrics().failed, 0u);
}

TEST_F(RedisCache, PipelinesManyInOneRoundTrip) {
  chaos::redis_cache cache(server.url(), quick());
  std::vector<chaos::redis_cache::command_type> sets;
  std::vector<std::string> keys;
  for (int i = 0; i < 500; ++i) {
    keys.push_back("k" + std::to_string(i));
    sets.push_back({"SET", keys.back(), std::string(1, '\0') + std::to_string(i)});  // binary safe
  }
  auto done = cache.pipeline(sets);
  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(done->size(), 500u);
  keys.push_back("missing");
  auto got = cache.get_many(keys);
  ASSERT_EQ(got.size(), 501u);
  for (int i = 0; i < 500; ++i)
    ASSERT_EQ(**got[static_cast<std::size_t>(i)], std::string(1, '\0') + std::to_string(i));
  EXPECT_EQ(*got[500], std::nullopt);
  server.stop();
  got = cache.get_many(keys);
  EXPECT_EQ(got[0].source(), source::cache_stale);
  EXPECT_FALSE(got[500].has_value());
}

TEST_F(RedisCache, AWriteWhoseAnswerIsLostLeavesNothingInL1) {
  chaos::redis_cache cache(server.url(), quick());
  ASSERT_TRUE(cache.set("k", "old").has_value());
  server.hang();
  EXPECT_EQ(cache.set("k", "new").error().kind, failure_kind::timeout);
  auto r = cache.get("k");
  EXPECT_FALSE(r.has_value()) << "neither old nor new is known to be right";
  server.wake();
  ASSERT_TRUE(eventually([&] { return cache.get("k").source() == source::live; }));
}

TEST_F(RedisCache, ARejectedWriteLeavesL1AsItWas) {
  chaos::redis_cache cache(server.url(), quick());
  ASSERT_TRUE(cache.set("k", "old").has_value());
  cache.circuit().force_open();
  EXPECT_EQ(cache.set("k", "new").error().kind, failure_kind::open);
  EXPECT_EQ(**cache.get("k"), "old");
}

TEST_F(RedisCache, EightThreadsReadTheirOwnWrites) {
  chaos::redis_cache cache(server.url(), quick());
  std::vector<std::thread> all;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t)
    all.emplace_back([&, t] {
      const std::string key = "t" + std::to_string(t);
      for (int i = 0; i < 200; ++i) {
        const auto v = std::to_string(i);
        auto s = cache.set(key, v);
        auto g = cache.get(key);
        if (!s || !g || g->value_or("") != v) ++wrong;
      }
    });
  for (auto& t : all) t.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(cache.connects(), 32u);
}

TEST_F(RedisCache, TheChildOfForkHasItsOwnConnections) {
  chaos::redis_cache cache(server.url(), quick());
  ASSERT_TRUE(cache.set("k", "v").has_value());
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(20);
    bool right = true;
    for (int i = 0; i < 200; ++i) right = right && cache.get("k").source() == source::live;
    _exit(right ? 0 : 1);
  }
  bool right = true;
  for (int i = 0; i < 200; ++i) right = right && cache.get("k").source() == source::live;
  int status = -1;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(right);
}

TEST_F(RedisCache, AWrongPasswordIsSaidAndOpens) {
  chaos::redis_cache cache("redis://:secret@127.0.0.1:" + std::to_string(server.port), quick());
  auto r = cache.get("k");
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().message().substr(0, 5), "AUTH:") << r.error().message();
  (void)cache.get("k");
  (void)cache.get("k");
  EXPECT_EQ(cache.circuit().state(), state::open);
}

TEST(RedisUrl, IsParsed) {
  const auto a = chaos::redis_address::parse("redis://:p@ss@example.org:7000/3");
  EXPECT_EQ(a.password, "p@ss");
  EXPECT_EQ(a.host, "example.org");
  EXPECT_EQ(a.port, 7000);
  EXPECT_EQ(a.db, 3);
  EXPECT_EQ(chaos::redis_address::parse("redis://[::1]:7000").host, "::1");
  EXPECT_EQ(chaos::redis_address::parse("unix:///run/redis.sock").path, "/run/redis.sock");
  EXPECT_EQ(chaos::redis_address::parse("redis://h/").port, 6379);
}

TEST(RedisUrl, AWrongOneIsRefusedWithWhatIsWrong) {
  const std::pair<const char*, const char*> rows[] = {{"", "the scheme"},
                                                      {"http://h", "the scheme"},
                                                      {"redis://", "the host is empty"},
                                                      {"redis://h:99999", "port"},
                                                      {"redis://h:x", "port"},
                                                      {"redis://h:", "port is empty"},
                                                      {"redis://h:0", "port is 0"},
                                                      {"redis://h/x", "db"},
                                                      {"redis://user:p@h", "user names"},
                                                      {"redis://[::1", "no ]"},
                                                      {"unix://run/r", "not absolute"},
                                                      {"redis://[::1]7", "neither"}};
  for (const auto& [url, what] : rows) {
    try {
      chaos::redis_cache cache(url);
      ADD_FAILURE() << url << " was accepted";
    } catch (const std::invalid_argument& e) {
      EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("expected redis://"), std::string::npos);
    }
  }
}

TEST(RedisCacheSettings, WrongOnesNameTheField) {
  EXPECT_THROW(chaos::redis_cache("redis://h", {.connect_timeout = 0s}), std::invalid_argument);
  EXPECT_THROW(chaos::redis_cache("redis://h", {.timeout = -1s}), std::invalid_argument);
  EXPECT_THROW(chaos::redis_cache("redis://h", {.max_connections = 0}), std::invalid_argument);
  EXPECT_THROW(chaos::redis_cache("redis://h", {.l1_entries = 0}), std::invalid_argument);
  EXPECT_THROW(chaos::redis_cache("redis://h", {.breaker = {.failure_rate = 7}}), std::invalid_argument);
}

TEST(RedisCacheWithoutServer, FailsFastAndOpens) {
  const int nobody = free_port();
  chaos::redis_cache cache("redis://127.0.0.1:" + std::to_string(nobody), quick());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cache.get("k").error().kind, failure_kind::error);
  EXPECT_EQ(cache.get("k").error().kind, failure_kind::open);
}

}  // namespace
