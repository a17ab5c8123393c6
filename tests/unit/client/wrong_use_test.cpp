// Wrong settings are refused with the name of the field; wrong use is harmless or does not compile.
#include <functional>
#include <limits>

#include "chaos/cache.hpp"
#include "support.hpp"

namespace {
using namespace chaos_test;
using settings = chaos::breaker_settings;

struct refused_row {
  const char* field;
  std::function<void(settings&)> spoil;
};

class RefusedSettings : public testing::TestWithParam<refused_row> {};

TEST_P(RefusedSettings, NameTheFieldTheValueAndWhatWouldBeRight) {
  settings s;
  GetParam().spoil(s);
  const std::size_t before = chaos::breakers().metrics().size();
  try {
    chaos::breaker b("orders", s);
    FAIL() << GetParam().field << " was accepted";
  } catch (const std::invalid_argument& e) {
    const std::string text = e.what();
    EXPECT_EQ(text.rfind("chaos::breaker \"orders\": " + std::string(GetParam().field) + " is ", 0), 0u) << text;
    EXPECT_NE(text.find("; expected "), std::string::npos) << text;
  }
  EXPECT_EQ(chaos::breakers().metrics().size(), before) << "not in the registry";
}

const refused_row rows[] = {
    {"failure_rate", [](settings& s) { s.failure_rate = 1.5; }},
    {"failure_rate", [](settings& s) { s.failure_rate = -0.1; }},
    {"failure_rate", [](settings& s) { s.failure_rate = std::numeric_limits<double>::quiet_NaN(); }},
    {"sliding_window", [](settings& s) { s.sliding_window = 0; }},
    {"sliding_window", [](settings& s) { s.sliding_window = 1'000'001; }},
    {"monitoring_period", [](settings& s) { s.monitoring_period = -1s; }},
    {"monitoring_period", [](settings& s) { s.monitoring_period = 10us; }},
    {"minimum_calls", [](settings& s) { s.minimum_calls = 0; }},
    {"minimum_calls", [](settings& s) { s.minimum_calls = 101; }},
    {"slow_call_duration", [](settings& s) { s.slow_call_duration = -1ns; }},
    {"slow_call_rate", [](settings& s) { s.slow_call_rate = 0; }},
    {"slow_call_rate", [](settings& s) { s.slow_call_rate = 2; }},
    {"failure_threshold", [](settings& s) { s.failure_threshold = 0, s.failure_rate = 0; }},
    {"recovery_timeout", [](settings& s) { s.recovery_timeout = 0ns; }},
    {"recovery_timeout", [](settings& s) { s.recovery_timeout = 24h * 100; }},
    {"recovery_growth", [](settings& s) { s.recovery_growth = 0.5; }},
    {"recovery_timeout_max", [](settings& s) { s.recovery_timeout_max = 1s; }},
    {"recovery_jitter", [](settings& s) { s.recovery_jitter = 1; }},
    {"half_open_permits", [](settings& s) { s.half_open_permits = 0; }},
    {"half_open_permits", [](settings& s) { s.half_open_permits = 1024; }},
    {"success_threshold", [](settings& s) { s.success_threshold = 0; }},
    {"success_threshold", [](settings& s) { s.success_threshold = 1024; }},
    {"half_open_timeout", [](settings& s) { s.half_open_timeout = 3h; }},
    {"fallback_timeout", [](settings& s) { s.fallback_timeout = -1ms; }},
};
INSTANTIATE_TEST_SUITE_P(All, RefusedSettings, testing::ValuesIn(rows), [](const auto& info) {
  return std::string(info.param.field) + "_" + std::to_string(info.index);
});

TEST(WrongUse, AnEmptyOrEndlessNameIsRefused) {
  EXPECT_THROW(chaos::breaker(""), std::invalid_argument);
  EXPECT_THROW(chaos::breaker(std::string(201, 'x')), std::invalid_argument);
}

TEST(WrongUse, OfTheCacheNamesTheField) {
  using cache = chaos::lru<int, int>;
  EXPECT_THROW(cache(0), std::invalid_argument);
  EXPECT_THROW(cache(10, {.fresh = 2s, .stale = 1s}), std::invalid_argument);
  EXPECT_THROW(cache(10, {.fresh = -2s}), std::invalid_argument);
}

TEST(WrongUse, ASecondVerdictIsRefusedAndCountsNothing) {
  clocked b({.failure_threshold = 1});
  auto p = b.breaker.try_acquire();
  EXPECT_TRUE(p.success());
  EXPECT_FALSE(p.failure());
  EXPECT_FALSE(p.record(chaos::outcome::failure));
  EXPECT_FALSE(p.ignore());
  EXPECT_FALSE(p) << "spent";
  EXPECT_EQ(b.metrics().successful, 1u);
  EXPECT_EQ(b.state(), chaos::state::closed);
}

TEST(WrongUse, AVerdictOnARejectedPermitDoesNothing) {
  clocked b({.failure_threshold = 1});
  b.fail();
  auto p = b.breaker.try_acquire();
  EXPECT_FALSE(p.success());
  EXPECT_FALSE(p.record(std::make_exception_ptr(1)));
  EXPECT_EQ(b.metrics().successful, 0u);
  chaos::permit none;
  EXPECT_FALSE(none.failure());
}

TEST(WrongUse, AMovedFromPermitIsSpent) {
  clocked b;
  auto p = b.breaker.try_acquire();
  auto q = std::move(p);
  EXPECT_FALSE(p.success());
  EXPECT_TRUE(q.success());
  EXPECT_EQ(b.metrics().successful, 1u);
}

// What must not compile.
static_assert(!std::is_copy_constructible_v<chaos::permit> && !std::is_copy_assignable_v<chaos::permit>);
static_assert(!std::is_copy_constructible_v<chaos::breaker> && !std::is_move_constructible_v<chaos::breaker>);
static_assert(!std::is_copy_constructible_v<chaos::subscription>);
static_assert(!std::is_convertible_v<chaos::permit, bool>, "explicit: a permit is no number");
static_assert(!std::is_constructible_v<chaos::breaker, int>);

}  // namespace
