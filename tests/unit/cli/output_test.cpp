// What people read: times with units, tables that line up, lines like strace's.
#include "control/cli/output.hpp"

#include <gtest/gtest.h>

#include "control/cli/rule_view.hpp"

namespace {

using namespace chaos::cli;

TEST(Output, TimesAreHuman) {
  EXPECT_EQ(human_ns(0), "0 ns");
  EXPECT_EQ(human_ns(999), "999 ns");
  EXPECT_EQ(human_ns(1'500), "1.5 µs");
  EXPECT_EQ(human_ns(100'000'000), "100 ms");
  EXPECT_EQ(human_ns(100'640'000), "101 ms");
  EXPECT_EQ(human_ns(1'500'000'000), "1.5 s");
  EXPECT_EQ(human_ns(600'000'000'000), "10 min");
  EXPECT_EQ(human_ns(200'000'000'000), "3 min 20 s");
  EXPECT_EQ(human_ns(7'200'000'000'000), "2 h");
  EXPECT_EQ(human_ns(~std::uint64_t{0}).empty(), false);
}

TEST(Output, CountsAndBytesAreHuman) {
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(1234567), "1,234,567");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(1'200'000), "1.2 MB");
}

TEST(Output, TablesLineUp) {
  table t({">id", "name", "target"});
  t.row({"7", "µ", "a"});
  t.row({"10", "longer", "b"});
  EXPECT_EQ(t.text(), "id  name    target\n 7  µ       a\n10  longer  b\n");
}

TEST(Output, JsonOfAnotherProcessIsReadWithCare) {
  const json odd = json::parse(R"({"a":"text","b":-5,"c":1.5,"d":null,"e":{},"f":18446744073709551615})");
  for (const char* key : {"a", "b", "d", "e", "none"}) EXPECT_EQ(number(odd, key, 3), 3u) << key;
  EXPECT_EQ(number(odd, "c"), 1u);
  EXPECT_EQ(number(odd, "f"), ~std::uint64_t{0});
  EXPECT_EQ(text_of(odd, "b"), "-5");
  EXPECT_EQ(text_of(odd, "d", "x"), "x");
  EXPECT_TRUE(array_of(odd, "a").empty());
  EXPECT_TRUE(array_of(json(3), "a").empty());
  EXPECT_FALSE(flag_of(json::array(), "a"));
}

json event(json more);

TEST(EventLine, ABreakerThatOpenedNamesItsInjections) {
  const json opened = json{{"kind", "annotation"}, {"category", "breaker"}, {"text", "redis: closed -> open (failure_rate)"}};
  const auto line = [&](const char* more) {
    json e = opened;
    e.update(json::parse(more));
    return event_line(event(e));
  };
  const std::string begin = "#1 [pid 1234] -- breaker: redis: closed -> open (failure_rate) --";
  EXPECT_EQ(line("{}"), begin);
  EXPECT_EQ(line(R"({"after":[41,45],"after_count":5})"), begin + " opened after #41–#45");
  EXPECT_EQ(line(R"({"after":[41,45],"after_count":2})"), begin + " opened after #41–#45 (2 injections)");
  EXPECT_EQ(line(R"({"after":[41,41],"after_count":1})"), begin + " opened after #41");
  for (const char* odd : {R"({"after":3})", R"({"after":[1]})", R"({"after":["a",null]})"}) EXPECT_EQ(line(odd), begin);
}

json event(json more) {
  json e{{"seq", 1}, {"pid", 1234}, {"tid", 1234}, {"function", "recv"}, {"rule", 1}, {"rule_name", "latency-1"}, {"kind", "injection"}, {"target", "127.0.0.1:6379"}, {"effect", "latency"}, {"errno", nullptr}, {"delay_ns", 0}, {"bytes", 0}};
  e.update(more);
  return e;
}

TEST(EventLine, ReadsLikeStrace) {
  EXPECT_EQ(event_line(event({{"delay_ns", 100'000'000}})), "#1 [pid 1234] recv(fd to 127.0.0.1:6379) = delayed 100 ms  (latency-1)");
  EXPECT_EQ(event_line(event({{"effect", "error"}, {"errno", "ECONNRESET"}})), "#1 [pid 1234] recv(fd to 127.0.0.1:6379) = -1 ECONNRESET  (latency-1)");
  EXPECT_EQ(event_line(event({{"effect", "enomem"}, {"function", "malloc"}, {"target", "malloc"}, {"errno", "ENOMEM"}})), "#1 [pid 1234] malloc() = NULL ENOMEM  (latency-1)");
  EXPECT_EQ(event_line(event({{"effect", "error"}, {"function", "getaddrinfo"}, {"target", "redis"}, {"errno", "EAI_AGAIN"}})), "#1 [pid 1234] getaddrinfo(\"redis\") = EAI_AGAIN  (latency-1)");
  EXPECT_EQ(event_line(event({{"effect", "loss"}, {"dry_run", true}})), "#1 [pid 1234] recv(fd to 127.0.0.1:6379) = lost [dry run]  (latency-1)");
}

TEST(EventLine, SurvivesWhatIsNoEvent) {
  EXPECT_FALSE(event_line(json::object()).empty());
  EXPECT_FALSE(event_line(json{{"pid", "x"}, {"function", 3}, {"delay_ns", -1}}).empty());
}

TEST(RuleLife, IsToldWithItsEnd) {
  EXPECT_EQ(rule_life({{"remaining_ms", 599'998}}), "10 min");
  EXPECT_EQ(rule_life({{"remaining_ms", nullptr}}), "for ever");
  EXPECT_EQ(rule_life({{"remaining_ms", 0}, {"state", "ended"}}), "ended");
}

}  // namespace
