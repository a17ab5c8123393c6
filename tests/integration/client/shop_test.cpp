// examples/shop with a real Redis and a real PostgreSQL: it sells from PostgreSQL while Redis is down, says 503 at
// once while both are, and is back within a second.
#include <gtest/gtest.h>
#include <httplib.h>

#include <algorithm>
#include <map>

#include "postgres_server.hpp"
#include "process.hpp"
#include "redis_server.hpp"

namespace {
using namespace chaos_test;
using steady = std::chrono::steady_clock;

class Shop : public testing::Test {
 protected:
  static void SetUpTestSuite() { postgres = std::make_unique<postgres_server>(POSTGRES_BIN); }
  static void TearDownTestSuite() { postgres.reset(); }

  void SetUp() override { start({}); }
  void start(std::vector<std::string> command) {
    const std::vector<std::string> words = {SHOP,
                                            "--port",
                                            std::to_string(port),
                                            "--redis",
                                            redis.url(),
                                            "--postgres",
                                            postgres->conninfo(),
                                            "--recovery-ms",
                                            "500",
                                            "--timeout-ms",
                                            "500",
                                            "--create",
                                            "200"};
    command.insert(command.end(), words.begin(), words.end());
    shop = std::make_unique<process>(command, folder.path / "shop.log");
    ASSERT_TRUE(eventually([&] { return shop->output().find("listening") != std::string::npos; })) << shop->output();
    client = make_client();
  }
  std::unique_ptr<httplib::Client> make_client() const {
    auto c = std::make_unique<httplib::Client>("127.0.0.1", port);
    c->set_keep_alive(true);
    c->set_tcp_nodelay(true);
    c->set_read_timeout(10);
    return c;
  }
  struct answers {
    std::map<std::string, int> by_kind;  // status and source
    std::vector<double> ms;
    int total = 0;
    double p99() {
      std::sort(ms.begin(), ms.end());
      return ms.empty() ? 0 : ms[ms.size() * 99 / 100];
    }
  };
  answers ask(int requests) {
    answers a;
    for (int i = 0; i < requests; ++i) {
      const auto start = steady::now();
      const auto r = client->Get("/item/" + std::to_string(1 + next_item++ % 200));
      a.ms.push_back(std::chrono::duration<double, std::milli>(steady::now() - start).count());
      ++a.total;
      ++a.by_kind[r ? std::to_string(r->status) + " " + r->get_header_value("X-Source") : "no response"];
    }
    return a;
  }
  std::string health() {
    const auto r = client->Get("/healthz");
    return r ? r->body : "";
  }

  static inline std::unique_ptr<postgres_server> postgres;
  redis_server redis;
  temporary_folder folder;
  const int port = free_port();
  std::unique_ptr<process> shop;
  std::unique_ptr<httplib::Client> client;
  int next_item = 0;
};

TEST_F(Shop, SellsFromPostgresFirstAndFromRedisThen) {
  EXPECT_EQ(ask(200).by_kind, (std::map<std::string, int>{{"200 postgres", 200}}));
  EXPECT_EQ(ask(200).by_kind, (std::map<std::string, int>{{"200 redis", 200}}));
  const auto r = client->Get("/item/7");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->body, "{\"id\" : 7, \"name\" : \"thing 7\", \"price_cents\" : 700}\n");
  EXPECT_EQ(client->Get("/item/999")->status, 404);
  EXPECT_EQ(client->Get("/item/x")->status, 404);
  EXPECT_EQ(health(), "{\"redis\":\"closed\",\"postgres\":\"closed\"}\n");
  const auto metrics = client->Get("/metrics")->body;
  EXPECT_NE(metrics.find("shop_requests_total{answer=\"redis\"} 201\n"), std::string::npos) << metrics;
  EXPECT_NE(metrics.find("chaos_breaker_state{name=\"postgres\",state=\"closed\"} 1\n"), std::string::npos)
      << metrics;
}

TEST_F(Shop, KeepsSellingWhileRedisIsDownAndUsesItAgainWithinASecond) {
  ask(200);
  redis.stop();
  auto down = ask(2000);
  EXPECT_GE(down.by_kind["200 postgres"], down.total * 99 / 100) << "at least 99 % from PostgreSQL";
  EXPECT_EQ(down.by_kind["200 postgres"] + down.by_kind["200 redis"], down.total) << "not one error";
  EXPECT_EQ(health(), "{\"redis\":\"open\",\"postgres\":\"closed\"}\n");
  redis.start();
  const auto back = steady::now();
  ASSERT_TRUE(eventually([&] {
    ask(1);
    return health() == "{\"redis\":\"closed\",\"postgres\":\"closed\"}\n";
  }));
  EXPECT_LT(steady::now() - back, 1s);
  ask(200);
  EXPECT_EQ(ask(200).by_kind, (std::map<std::string, int>{{"200 redis", 200}}));
}

TEST_F(Shop, SaysNoAtOnceWhileBothAreDownAndIsBackWithinASecond) {
  ask(10);
  redis.stop();
  postgres->stop();
  ask(20);
  ASSERT_EQ(health(), "{\"redis\":\"open\",\"postgres\":\"open\"}\n");
  auto down = ask(1000);
  EXPECT_EQ(down.by_kind, (std::map<std::string, int>{{"503 ", 1000}}));
  EXPECT_LT(down.p99(), 5) << "milliseconds";
  const auto r = client->Get("/item/1");
  EXPECT_EQ(r->get_header_value("Retry-After"), "1");
  redis.start();
  postgres->start();
  const auto back = steady::now();
  ASSERT_TRUE(eventually([&] {
    ask(1);
    return health() == "{\"redis\":\"closed\",\"postgres\":\"closed\"}\n";
  })) << health();
  EXPECT_LT(steady::now() - back, 1s);
  EXPECT_EQ(ask(100).by_kind.count("503 "), 0u);
}

#ifdef CHAOS_CTL
// The same outages as libchaos.so makes them: both servers run on, the shop cannot reach them.
class ShopUnderShim : public Shop {
 protected:
  void SetUp() override {
    setenv("CHAOS_DIR", folder.path.c_str(), 1);
    setenv("CHAOS_SESSION", "shop", 1);
    start({CHAOS_CTL, "run", "--"});
  }
  void TearDown() override {
    client.reset();
    shop.reset();
    ctl({"daemon", "stop"});
    unsetenv("CHAOS_DIR");
    unsetenv("CHAOS_SESSION");
  }
  void ctl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), CHAOS_CTL);
    process p(arguments, folder.path / "ctl");
    EXPECT_EQ(p.wait(), 0) << p.output();
  }
  void down(int server, const char* name) {
    ctl({"set", "down", "127.0.0.1:" + std::to_string(server), "--name", name, "--for", "2min"});
  }
};

TEST_F(ShopUnderShim, SellsThroughAnOutageOfRedisAndSaysNoAtOnceInOneOfBoth) {
  ask(10);  // few: what Redis holds is not asked of PostgreSQL, and its breaker would get no probe afterwards
  down(redis.port, "redis-down");
  auto one = ask(2000);
  EXPECT_GE(one.by_kind["200 postgres"], one.total * 99 / 100);
  EXPECT_EQ(one.by_kind["200 postgres"] + one.by_kind["200 redis"], one.total) << "not one error";
  EXPECT_EQ(health(), "{\"redis\":\"open\",\"postgres\":\"closed\"}\n");
  down(postgres->port, "pg-down");
  ask(20);
  ASSERT_EQ(health(), "{\"redis\":\"open\",\"postgres\":\"open\"}\n");
  auto both = ask(1000);
  EXPECT_EQ(both.by_kind, (std::map<std::string, int>{{"503 ", 1000}}));
  EXPECT_LT(both.p99(), 5) << "milliseconds";
  ctl({"rm", "redis-down", "pg-down"});
  const auto back = steady::now();
  ASSERT_TRUE(eventually([&] {
    ask(1);
    return health() == "{\"redis\":\"closed\",\"postgres\":\"closed\"}\n";
  })) << health();
  EXPECT_LT(steady::now() - back, 1s);
}
#endif

TEST_F(Shop, EndsInAnOrderlyWay) {
  client.reset();
  EXPECT_EQ(shop->end(SIGTERM), 0) << shop->output();
}

TEST_F(Shop, WrongUseHasItsOwnExitCodeAndText) {
  const std::pair<std::vector<std::string>, const char*> rows[] = {
      {{"--port", "0"}, "--port is \"0\"; expected 1 to 65535"},
      {{"--port"}, "--port needs a value"},
      {{"--frobnicate", "1"}, "unknown option --frobnicate"},
      {{"--redis", "nonsense"}, "the scheme is unknown"}};
  for (auto [arguments, text] : rows) {
    arguments.insert(arguments.begin(), SHOP);
    process p(arguments, folder.path / text);
    EXPECT_EQ(p.wait(), 2);
    EXPECT_NE(p.output().find(text), std::string::npos) << p.output();
  }
  process twice({SHOP, "--port", std::to_string(port), "--redis", redis.url()}, folder.path / "twice");
  EXPECT_EQ(twice.wait(), 1);
  EXPECT_NE(twice.output().find("cannot listen"), std::string::npos);
}

}  // namespace
