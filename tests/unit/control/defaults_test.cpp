// default_latency and default_error_rate: what they fill in, and what was said stays.
#include "control/daemon/defaults.hpp"

#include "support.hpp"

namespace chaos::daemon {
namespace {

using words = std::vector<std::string>;

settings how(const std::string& latency, const std::string& rate) {
  settings s;
  if (!latency.empty()) s.default_latency = *rules::parse_duration_range("", latency);
  s.default_error_rate = rate;
  return s;
}

std::string filled(const words& w, const settings& s) {
  auto spec = rules::spec_from_words(w);
  EXPECT_TRUE(spec);
  fill_in(*spec, s);
  return rules::normalised_text(*spec);
}

TEST(Defaults, ALatencyWithoutAValueIsDrawnFromTheRange) {
  EXPECT_EQ(filled({"latency", "redis:6379"}, how("100ms..1s", "")), "latency redis:6379 550ms --jitter 450ms");
  EXPECT_EQ(filled({"latency", "redis:6379"}, how("200ms", "")), "latency redis:6379 200ms");
  EXPECT_EQ(filled({"latency", "redis:6379", "--jitter", "1ms"}, how("100ms..1s", "")), "latency redis:6379 550ms --jitter 1ms");
}

TEST(Defaults, WhatIsSaidStays) {
  const settings both = how("100ms..1s", "1%");
  for (const words& w : {words{"latency", "redis:6379", "5ms"}, {"latency", "redis:6379", "--percentiles", "p50=1ms,p99=2ms"}, {"error", "redis:6379", "ECONNRESET", "--probability", "50%"},
                         {"error", "redis:6379", "ECONNRESET", "--times", "3"}, {"error", "redis:6379", "ECONNRESET", "--when", "3+"}, {"error", "redis:6379", "ECONNRESET", "--toxicity", "20%"},
                         {"loss", "redis:6379", "5%"}, {"io_error", "file:/tmp/**"}})
    EXPECT_EQ(filled(w, both), filled(w, settings{})) << w[0];
}

TEST(Defaults, AnErrorThatSaysNoRateHasTheDefaultOne) {
  EXPECT_EQ(filled({"error", "redis:6379", "ECONNRESET"}, how("", "50%")), "error redis:6379 ECONNRESET --probability 0.5");
  EXPECT_EQ(filled({"http_error", "http://shop:80/*", "503"}, how("", "0.25")), "http_error http://shop:80/* 503 --probability 0.25");
}

TEST(Defaults, WithoutThemNothingIsFilledIn) {
  EXPECT_EQ(filled({"latency", "redis:6379"}, settings{}), "latency redis:6379");
  EXPECT_EQ(filled({"error", "redis:6379", "ECONNRESET"}, settings{}), "error redis:6379 ECONNRESET");
}

}  // namespace
}  // namespace chaos::daemon
