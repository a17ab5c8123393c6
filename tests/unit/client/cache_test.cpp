// chaos::lru: order, bounds, freshness, threads.
#include <random>
#include <thread>

#include "chaos/cache.hpp"
#include "support.hpp"

namespace {
using namespace chaos_test;

struct clocked_cache {
  chaos::manual_clock clock;
  chaos::lru<std::string, int> cache;
  explicit clocked_cache(std::size_t capacity) : cache(capacity, {.fresh = 5s, .stale = 60s, .clock = &clock}) {}
};

TEST(Lru, IsFreshThenStaleThenGone) {
  clocked_cache c(10);
  c.cache.put("k", 1);
  c.clock.advance(5s);
  EXPECT_TRUE(c.cache.find("k")->fresh);
  c.clock.advance(1ns);
  const auto hit = c.cache.find("k");
  ASSERT_TRUE(hit);
  EXPECT_FALSE(hit->fresh);
  EXPECT_EQ(hit->age, 5s + 1ns);
  c.clock.advance(55s);
  EXPECT_FALSE(c.cache.find("k"));
  EXPECT_EQ(c.cache.size(), 0u);
  const auto s = c.cache.stats();
  EXPECT_EQ(s.fresh_hits, 1u);
  EXPECT_EQ(s.stale_hits, 1u);
  EXPECT_EQ(s.misses, 1u);
  EXPECT_EQ(s.expirations, 1u);
}

TEST(Lru, DropsTheLeastRecentlyUsed) {
  clocked_cache c(3);
  for (const char* k : {"a", "b", "c"}) c.cache.put(k, 1);
  EXPECT_TRUE(c.cache.find("a"));
  c.cache.put("d", 1);
  EXPECT_FALSE(c.cache.find("b"));
  for (const char* k : {"a", "c", "d"}) EXPECT_TRUE(c.cache.find(k)) << k;
  EXPECT_EQ(c.cache.stats().evictions, 1u);
}

TEST(Lru, PutAgainReplacesAndRenews) {
  clocked_cache c(3);
  c.cache.put("a", 1);
  c.clock.advance(50s);
  c.cache.put("a", 2);
  c.clock.advance(20s);
  EXPECT_EQ(c.cache.find("a")->value, 2);
  EXPECT_EQ(c.cache.find("a")->age, 20s);
  EXPECT_TRUE(c.cache.erase("a"));
  EXPECT_FALSE(c.cache.erase("a"));
  EXPECT_FALSE(c.cache.find("a"));
}

TEST(Lru, NeverHoldsMoreThanItsCapacityAlsoWithShards) {
  chaos::lru<int, int> c(5'000);
  for (int i = 0; i < 100'000; ++i) {
    c.put(i * 64, i);
    ASSERT_LE(c.size(), 5'000u);
  }
  EXPECT_GT(c.size(), 4'500u) << "strided keys spread over the shards";
  c.clear();
  EXPECT_EQ(c.size(), 0u);
}

TEST(Lru, EightThreadsSeeWholeValues) {
  chaos::lru<int, std::string> c(2'000);
  std::vector<std::thread> all;
  std::atomic<int> torn{0};
  for (int t = 0; t < 8; ++t)
    all.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < 5'000; ++i) {
        const int key = static_cast<int>(random() % 4'000);
        if (random() % 2)
          c.put(key, std::string(40, static_cast<char>('a' + key % 26)));
        else if (auto hit = c.find(key); hit && hit->value != std::string(40, static_cast<char>('a' + key % 26)))
          ++torn;
      }
    });
  for (auto& t : all) t.join();
  EXPECT_EQ(torn, 0);
  EXPECT_LE(c.size(), 2'000u);
}

}  // namespace
