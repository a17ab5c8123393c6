// Breaker state across a restart of the application: in a file and in Redis, whole, corrupt and unreachable.
#include <gtest/gtest.h>

#include <fstream>
#include <locale>

#include "chaos/redis_cache.hpp"
#include "redis_server.hpp"

namespace {
using namespace chaos_test;
using chaos::state;

chaos::breaker_settings settings() { return {.failure_threshold = 1, .recovery_timeout = 60s, .recovery_growth = 2}; }

std::string read(const std::filesystem::path& p) {
  std::ifstream in(p);
  return {std::istreambuf_iterator<char>(in), {}};
}

class FileStore : public testing::Test {
 protected:
  temporary_folder folder;
  std::filesystem::path path = folder.path / "state";
  std::unique_ptr<chaos::file_store> store() { return std::make_unique<chaos::file_store>(path); }
};

TEST_F(FileStore, AnOpenBreakerComesBackOpenForWhatIsLeft) {
  {
    chaos::breaker b("redis", settings());
    chaos::breaker_persistence keep(b, store());
    EXPECT_FALSE(keep.restored()) << "nothing was stored";
    b.try_acquire().failure();
    ASSERT_TRUE(keep.flush(10s));
    EXPECT_EQ(keep.saves(), 1u);
  }
  chaos::breaker b("redis", settings());
  chaos::breaker_persistence keep(b, store(), 10s);
  EXPECT_TRUE(keep.restored());
  EXPECT_EQ(b.state(), state::open);
  EXPECT_LE(b.retry_after(), 60s + 1ms);
  EXPECT_GT(b.retry_after(), 30s);
  EXPECT_EQ(b.snapshot().openings_in_a_row, 1u);
}

TEST_F(FileStore, WhatHappensWhileTheStateIsRestoredIsSavedToo) {
  std::ofstream(path) << chaos::detail::encode_snapshot({state::forced_open, 0s, 1}, 1000);
  {
    chaos::breaker b("redis", settings());
    auto at_once = b.on_transition([&](const chaos::transition& t) {
      if (t.reason == chaos::transition_reason::restored) b.reset();
    });
    chaos::breaker_persistence keep(b, store(), 10s);
    ASSERT_TRUE(keep.restored());
    EXPECT_TRUE(keep.flush(std::chrono::milliseconds::max()));
  }
  EXPECT_EQ(chaos::detail::decode_snapshot(read(path), 1000).state, state::closed);
}

struct of_commas : std::numpunct<char> {
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST_F(FileStore, TheTextIsTheSameInEveryLocale) {
  const chaos::breaker_snapshot open{state::open, 12345s, 1234};
  const std::string usual = chaos::detail::encode_snapshot(open, 4'000'000);
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new of_commas));
  const std::string other = chaos::detail::encode_snapshot(open, 4'000'000);
  const auto back = chaos::detail::decode_snapshot(usual, 4'000'000);
  std::locale::global(before);
  EXPECT_EQ(other, usual);
  EXPECT_EQ(back.remaining, open.remaining);
}

TEST_F(FileStore, AsLongAsItTakes) {
  chaos::breaker b("redis", settings());
  chaos::breaker_persistence keep(b, store(), std::chrono::milliseconds::max());
  b.force_open();
  EXPECT_TRUE(keep.flush(std::chrono::milliseconds::max()));
  EXPECT_EQ(chaos::detail::decode_snapshot(read(path), 0).state, state::forced_open);
}

TEST_F(FileStore, TheEndOfTheProgramSavesWhatIsNotSavedYet) {
  {
    chaos::breaker b("redis", settings());
    chaos::breaker_persistence keep(b, store(), 10s);
    b.force_open();
  }
  chaos::breaker b("redis", settings());
  chaos::breaker_persistence keep(b, store(), 10s);
  EXPECT_EQ(b.state(), state::forced_open);
}

TEST_F(FileStore, AStoredTimeIsClampedToTheSettings) {
  chaos::breaker_snapshot far{state::open, 24h * 100, 3};
  std::ofstream(path) << chaos::detail::encode_snapshot(far, 4'000'000'000'000);  // saved in the future as well
  auto s = settings();
  s.recovery_timeout_max = 70s;
  chaos::breaker b("redis", s);
  chaos::breaker_persistence keep(b, store(), 10s);
  EXPECT_EQ(b.state(), state::open);
  EXPECT_LE(b.retry_after(), 70s + 1ms);
}

TEST_F(FileStore, ABreakerThatHasBegunIsNotOverwritten) {
  chaos::breaker b("redis", settings());
  b.try_acquire().success();
  EXPECT_FALSE(b.restore({state::forced_open, 0s, 0}));
  EXPECT_EQ(b.state(), state::closed);
}

TEST_F(FileStore, ACorruptFileIsSaidKeptAsideAndTheBreakerStartsClosed) {
  std::ofstream(path) << "chaos-breaker 1 open 60000 1 0 12345\n";
  chaos::breaker b("redis", settings());
  chaos::breaker_persistence keep(b, store(), 10s);
  EXPECT_EQ(b.state(), state::closed);
  EXPECT_EQ(keep.errors(), 1u);
  EXPECT_NE(keep.last_error().find("checksum does not match"), std::string::npos) << keep.last_error();
  EXPECT_EQ(read(path.string() + ".corrupt"), "chaos-breaker 1 open 60000 1 0 12345\n");
  b.try_acquire().failure();
  EXPECT_TRUE(keep.flush(10s));
  EXPECT_EQ(b.state(), state::open) << "and works";
  EXPECT_NO_THROW(chaos::detail::decode_snapshot(read(path), 0)) << "and is saved";
}

TEST_F(FileStore, NoPartOfATextIsTakenForAWholeOne) {
  const std::string whole = chaos::detail::encode_snapshot({state::open, 5s, 2}, 1000);
  ASSERT_NO_THROW(chaos::detail::decode_snapshot(whole, 1000));
  for (std::size_t n = 0; n < whole.size(); ++n)
    EXPECT_THROW(chaos::detail::decode_snapshot(whole.substr(0, n), 1000), std::runtime_error) << n;
  for (std::size_t n = 0; n < whole.size(); ++n)
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = whole;
      flipped[n] = static_cast<char>(flipped[n] ^ 1 << bit);
      EXPECT_THROW(chaos::detail::decode_snapshot(flipped, 1000), std::runtime_error) << n << " bit " << bit;
    }
}

TEST_F(FileStore, AFolderThatCannotBeWrittenIsSaidAndHarmsNoCall) {
  chaos::breaker b("redis", settings());
  chaos::breaker_persistence keep(b, std::make_unique<chaos::file_store>("/nonexistent/folder/state"), 10s);
  b.try_acquire().failure();
  EXPECT_TRUE(keep.flush(10s));
  EXPECT_EQ(keep.errors(), 1u);
  EXPECT_NE(keep.last_error().find("/nonexistent/folder"), std::string::npos);
  EXPECT_EQ(b.state(), state::open);
}

// A store that blocks until it is let go: no call may feel it.
struct blocked_store final : chaos::breaker_state_store {
  explicit blocked_store(std::atomic<bool>& go) : go(go) {}
  std::optional<std::string> load() override { return std::nullopt; }
  void save(const std::string&) override { go.wait(false); }
  void set_aside(const std::string&) override {}
  std::atomic<bool>& go;
};

TEST(Trap, APersistedStoreThatBlocksDoesNotBlockTheCall) {
  std::atomic<bool> go{false};
  chaos::breaker b("redis", {.failure_threshold = 1});
  chaos::breaker_persistence keep(b, std::make_unique<blocked_store>(go), 10s);
  for (int i = 0; i < 1000; ++i) {
    b.try_acquire().failure();
    b.reset();
  }
  EXPECT_EQ(keep.saves(), 0u) << "the store is still in its first save";
  EXPECT_EQ(b.metrics().failed, 1000u);
  go = true;
  go.notify_all();
  EXPECT_TRUE(keep.flush(10s));
  EXPECT_LE(keep.saves(), 2u) << "what happened meanwhile is one save";
}

TEST(RedisStore, KeepsTheStateInRedis) {
  redis_server server;
  const auto store = [&] { return std::make_unique<chaos::redis_store>(server.url(), "breaker:redis"); };
  {
    chaos::breaker b("redis", settings());
    chaos::breaker_persistence keep(b, store(), 10s);
    b.try_acquire().failure();
  }
  {
    chaos::breaker b("redis", settings());
    chaos::breaker_persistence keep(b, store(), 10s);
    EXPECT_TRUE(keep.restored()) << keep.last_error();
    EXPECT_EQ(b.state(), state::open);
  }
  chaos::redis_cache client(server.url());
  ASSERT_TRUE(client.set("breaker:redis", "rubbish").has_value());
  chaos::breaker b("redis", settings());
  chaos::breaker_persistence keep(b, store(), 10s);
  EXPECT_EQ(b.state(), state::closed);
  EXPECT_EQ(keep.errors(), 1u);
  EXPECT_EQ(**client.get("breaker:redis:corrupt"), "rubbish");
}

TEST(RedisStore, UnreachableIsSaidAndTheBreakerWorks) {
  const std::string url = "redis://127.0.0.1:" + std::to_string(free_port());
  chaos::breaker b("redis", settings());
  chaos::breaker_persistence keep(b, std::make_unique<chaos::redis_store>(url, "k"), 10s);
  EXPECT_NE(keep.last_error().find("Connection refused"), std::string::npos) << keep.last_error();
  b.try_acquire().failure();
  EXPECT_EQ(b.state(), state::open);
  EXPECT_TRUE(keep.flush(10s));
  EXPECT_EQ(keep.errors(), 2u);
}

}  // namespace
