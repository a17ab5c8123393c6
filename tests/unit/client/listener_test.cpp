// Listeners: order, exceptions, subscriptions that end; the registry and its Prometheus text.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <locale>
#include <memory>
#include <thread>

#include "support.hpp"

namespace {
using namespace chaos_test;
using chaos::state;

TEST(Listener, HearsFromToReasonAndTime) {
  clocked b({.failure_threshold = 2, .recovery_timeout = 1s, .success_threshold = 1}, "orders");
  std::vector<chaos::transition> seen;
  auto s = b.breaker.on_transition([&](const chaos::transition& t) {
    EXPECT_EQ(t.breaker, "orders");
    seen.push_back(t);
  });
  const auto start = std::chrono::nanoseconds(b.clock.now_ns());
  b.fail(2);
  b.clock.advance(2s);
  b.succeed();
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].reason, chaos::transition_reason::consecutive_failures);
  EXPECT_EQ(seen[0].at, start);
  EXPECT_EQ(seen[1].reason, chaos::transition_reason::recovery_elapsed);
  EXPECT_EQ(seen[1].at, start + 2s);
  EXPECT_EQ(seen[2].from, state::half_open);
  EXPECT_EQ(seen[2].to, state::closed);
  EXPECT_EQ(seen[2].reason, chaos::transition_reason::probes_succeeded);
}

TEST(Listener, ThatThrowsHarmsNeitherTheBreakerNorTheOthers) {
  clocked b({.failure_threshold = 1});
  int heard = 0;
  auto bad = b.breaker.on_transition([](const chaos::transition&) { throw std::runtime_error("listener"); });
  auto good = b.breaker.on_transition([&](const chaos::transition&) { ++heard; });
  b.fail();
  EXPECT_EQ(b.state(), state::open);
  EXPECT_EQ(heard, 1);
  EXPECT_EQ(b.metrics().listener_errors, 1u);
}

TEST(Listener, HearsNothingAfterItsSubscription) {
  clocked b;
  int heard = 0;
  {
    auto s = b.breaker.on_transition([&](const chaos::transition&) { ++heard; });
    b.breaker.trip();
  }
  b.breaker.reset();
  EXPECT_EQ(heard, 1);
}

TEST(Listener, MayEndItsOwnSubscription) {
  clocked b;
  int heard = 0;
  chaos::subscription s;
  s = b.breaker.on_transition([&](const chaos::transition&) {
    ++heard;
    s.reset();
  });
  b.breaker.trip();
  b.breaker.reset();
  EXPECT_EQ(heard, 1);
}

TEST(Listener, EndingASubscriptionWaitsForARunningDelivery) {
  clocked b;
  std::promise<void> entered, leave;
  std::atomic<bool> left{false};
  auto s = b.breaker.on_transition([&](const chaos::transition&) {
    entered.set_value();
    leave.get_future().wait();
    left = true;
  });
  std::thread tripping([&] { b.breaker.trip(); });
  entered.get_future().wait();
  std::thread releasing([&] { leave.set_value(); });
  s.reset();
  EXPECT_TRUE(left) << "what the listener uses may now be destroyed";
  tripping.join();
  releasing.join();
}

TEST(Listener, SubscriptionMayOutliveTheBreaker) {
  chaos::subscription s;
  {
    clocked b;
    s = b.breaker.on_transition([](const chaos::transition&) {});
  }
  s.reset();
}

TEST(Registry, FindsBreakersByNameWhileTheyLive) {
  {
    chaos::breaker b("registry-test");
    EXPECT_TRUE(chaos::breakers().with("registry-test", [](chaos::breaker& found) { found.force_open(); }));
    EXPECT_EQ(b.state(), state::forced_open);
  }
  EXPECT_FALSE(chaos::breakers().with("registry-test", [](chaos::breaker&) {}));
}

// A thread that never returns would end the test program by its time-out.
TEST(Registry, MayBeUsedByAListenerThatItSetOff) {
  chaos::breaker b("set-off");
  std::string text;
  int seen = 0;
  auto s = b.on_transition([&](const chaos::transition& t) {
    chaos::breaker made_meanwhile("made-meanwhile");
    chaos::breakers().each([&](chaos::breaker& other) { seen += other.name() == t.breaker || other.name() == "made-meanwhile"; });
    text = chaos::breakers().prometheus();
    if (t.to != state::closed) chaos::breakers().with("set-off", [](chaos::breaker& itself) { itself.reset(); });
  });
  chaos::breakers().with("set-off", [](chaos::breaker& found) { found.force_open(); });
  EXPECT_NE(text.find("chaos_breaker_state{name=\"made-meanwhile\",state=\"closed\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("chaos_breaker_state{name=\"set-off\""), std::string::npos) << text;
  EXPECT_EQ(b.state(), state::closed) << "the listener's order came after that which set it off";
  EXPECT_GE(seen, 2);
  chaos::breakers().each([](chaos::breaker& found) { found.trip(); });
  EXPECT_EQ(b.state(), state::closed);
}

TEST(Registry, ABreakerThatIsInUseIsDestroyedAfterwards) {
  auto b = std::make_unique<chaos::breaker>("in-use");
  std::promise<void> entered, leave;
  std::atomic<bool> left{false};
  std::thread user([&] {
    EXPECT_TRUE(chaos::breakers().with("in-use", [&](chaos::breaker& found) {
      entered.set_value();
      leave.get_future().wait();
      EXPECT_EQ(found.name(), "in-use");
      left = true;
    }));
  });
  entered.get_future().wait();
  std::thread ending([&] {
    b.reset();
    EXPECT_TRUE(left);
  });
  leave.set_value();
  ending.join();
  user.join();
  EXPECT_FALSE(chaos::breakers().with("in-use", [](chaos::breaker&) {}));
}

TEST(Registry, IsForAllThreadsAtOnce) {
  constexpr int rounds = 200;
  chaos::breaker lasting("lasting");
  std::atomic<int> told{0};
  auto s = lasting.on_transition([&](const chaos::transition&) {
    told += !chaos::breakers().prometheus().empty();
  });
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    for (int i = 0; i < rounds; ++i) chaos::breakers().with("lasting", [](chaos::breaker& b) { b.trip(); });
  });
  threads.emplace_back([&] {
    for (int i = 0; i < rounds; ++i) chaos::breaker passing("passing");
  });
  threads.emplace_back([&] {
    for (int i = 0; i < rounds; ++i) chaos::breakers().each([](chaos::breaker& b) { b.try_acquire().success(); });
  });
  threads.emplace_back([&] {
    for (int i = 0; i < rounds; ++i) EXPECT_FALSE(chaos::breakers().metrics().empty());
  });
  for (auto& t : threads) t.join();
  EXPECT_EQ(static_cast<std::uint64_t>(told.load()) + lasting.metrics().transitions_lost, static_cast<std::uint64_t>(rounds));
}

TEST(Registry, AChildOfForkWaitsForNoUseOfItsParent) {
  auto b = std::make_unique<chaos::breaker>("forked");
  std::promise<void> entered, leave;
  std::thread user([&] {
    chaos::breakers().with("forked", [&](chaos::breaker&) {
      entered.set_value();
      leave.get_future().wait();
    });
  });
  entered.get_future().wait();
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    b.reset();
    _exit(chaos::breakers().with("forked", [](chaos::breaker&) {}) ? 1 : 0);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  leave.set_value();
  user.join();
}

TEST(Prometheus, HasTheCountersOfABreaker) {
  clocked b({.failure_threshold = 2}, "pro\"me\\theus");
  b.succeed(3);
  b.fail(2);
  (void)b.breaker.try_acquire();
  chaos::breaker twin("pro\"me\\theus");
  const std::string text = chaos::breakers().prometheus();
  const auto has = [&](const std::string& line) {
    EXPECT_NE(text.find(line + "\n"), std::string::npos) << line << "\nnot in\n" << text;
  };
  const std::string name = R"(name="pro\"me\\theus")";
  has("# TYPE chaos_breaker_calls_total counter");
  has("chaos_breaker_calls_total{" + name + ",kind=\"successful\"} 3");
  has("chaos_breaker_calls_total{" + name + ",kind=\"failed\"} 2");
  has("chaos_breaker_not_permitted_calls_total{" + name + "} 1");
  has("chaos_breaker_state{" + name + ",state=\"open\"} 1");
  has("chaos_breaker_state{" + name + ",state=\"closed\"} 0");
  has("chaos_breaker_transitions_total{" + name + ",from=\"closed\",to=\"open\"} 1");
  has("chaos_breaker_calls_total{" + name + ",instance_number=\"2\",kind=\"successful\"} 0");
}

struct of_commas : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

// Programs set the locale of their users for everything that is printed.
TEST(Metrics, TextIsTheSameInEveryLocale) {
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new of_commas));
  clocked b({.failure_threshold = 0, .failure_rate = 1}, "far");
  b.succeed(1999);
  b.fail();
  const std::string text = chaos::breakers().prometheus();
  std::string refusal;
  try {
    chaos::breaker wrong{"wrong", {.sliding_window = 2'000'000}};
  } catch (const std::invalid_argument& e) {
    refusal = e.what();
  }
  std::locale::global(before);
  EXPECT_NE(text.find("calls_total{name=\"far\",kind=\"successful\"} 1999\n"), std::string::npos) << text;
  EXPECT_NE(text.find("failure_rate{name=\"far\"} 0.01\n"), std::string::npos) << text;
  EXPECT_NE(refusal.find("is 2000000;"), std::string::npos) << refusal;
}

}  // namespace
