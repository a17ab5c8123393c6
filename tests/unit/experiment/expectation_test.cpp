#include "control/experiment/expectation.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace {

using namespace chaos::experiment;

auto parse(const char* text, std::optional<window> when = window::during, std::vector<std::string> probes = {"web"}) {
  return parse_expectation(text, when, {std::move(probes), {"log"}, {"cut"}, {"server"}});
}

TEST(Expectation, ReadsEveryUnit) {
  const std::pair<const char*, double> rows[] = {{"success_rate >= 99%", 0.99}, {"error_rate<0.01", 0.01}, {"p95 < 500ms", 5e8},     {"latency_ratio <= 5x", 5},
                                                 {"throughput_ratio > 0.8", 0.8}, {"throughput >= 20/s", 20}, {"samples >= 100", 100}, {"status 503 >= 95%", 0.95},
                                                 {"web header A: b>c >= 1", 1},    {"fired cut >= 1", 1}};
  for (const auto& [text, bound] : rows) {
    const auto e = parse(text);
    ASSERT_TRUE(e) << text << ": " << e.error().message;
    EXPECT_DOUBLE_EQ(e->bound, bound) << text;
  }
  EXPECT_EQ(parse("web header A: b>c >= 1")->second, "b>c");
  EXPECT_EQ(parse("web p95 < 1s")->probe, "web");
  EXPECT_EQ(parse_expectation("p95 < 1s", window::during, {{"web"}, {}, {}, {}})->probe, "web") << "the only one";
}

TEST(Expectation, ComparesAsWritten) {
  EXPECT_TRUE(parse("success_rate >= 50%")->holds(0.5));
  EXPECT_FALSE(parse("success_rate > 50%")->holds(0.5));
  EXPECT_TRUE(parse("success_rate <= 50%")->holds(0.5));
  EXPECT_FALSE(parse("success_rate < 50%")->holds(0.5));
  EXPECT_FALSE(parse("p95 < 1s")->holds(NAN)) << "nothing measured holds nothing";
  EXPECT_FALSE(parse("recovers_within = 1h", window::after)->holds(INFINITY));
}

TEST(Expectation, RefusesWhatItCanNotMean) {
  for (const char* text : {"", "success_rate", "success_rate = 99%", ">= 99%", "success_rate >=", "success_rate >= 99% please", "success_rate >= 101%", "success_rate >= -1%",
                           "success_rate >= lots", "success_rate of >= 1%", "p95 < 500", "p95 < 5%", "status >= 95%", "status 999 >= 1%", "status 50 >= 1%", "status 5x0 >= 1%",
                           "header X >= 1%", "header : a >= 1%", "fired >= 1", "fired slow >= 1", "web fired cut >= 1", "web >= 1", "wob p95 < 1s", "samples >= many", "recovers_within = 1s"})
    EXPECT_FALSE(parse(text)) << text;
  EXPECT_FALSE(parse("latency_ratio < 5", window::baseline));
  EXPECT_FALSE(parse("fired cut >= 1", window::after));
  EXPECT_FALSE(parse("p95 < 1s", window::during, {"a", "b"})) << "which?";
  EXPECT_TRUE(parse("b p95 < 1s", window::during, {"a", "b"}));
}

TEST(Expectation, NumbersReadWell) {
  EXPECT_EQ(human(unit::share, 1), "100%");
  EXPECT_EQ(human(unit::share, 0.9999), "99.9%") << "never rounded to all";
  EXPECT_EQ(human(unit::share, 0.00001), "0.1%") << "nor to none";
  EXPECT_EQ(human(unit::time, 1'234'567), "1.23 ms");
  EXPECT_EQ(human(unit::time, 350'000'000), "350 ms");
  EXPECT_EQ(human(unit::time, INFINITY), "never");
  EXPECT_EQ(human(unit::factor, 4.82), "4.82x");
}

}  // namespace
