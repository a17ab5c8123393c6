// The file: what is read, and that everything wrong is answered with line, word and what would be right.
#include "control/experiment/plan.hpp"

#include <gtest/gtest.h>

namespace {

using namespace chaos::experiment;

const std::string good = R"([experiment]
name = a
hypothesis = it goes
  on
baseline = 1s
# ${NOT_LOOKED_AT}
[probe web]
kind = http
url = http://127.0.0.1:${PORT}/item/{1..20}?x=1
status = 200, 4xx
rate = 10/s
[fault f]
kind = latency
target = 127.0.0.1:1
value = ${DELAY:-5ms}
[expect during]
header X-Source: a b >= 80% ; why
status 5xx < 1%
)";

environment variables(std::map<std::string, std::string> all) {
  return [all](const std::string& name) -> std::optional<std::string> {
    const auto found = all.find(name);
    return found == all.end() ? std::nullopt : std::optional(found->second);
  };
}

const environment usual = variables({{"PORT", "8080"}});

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const auto at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

TEST(Plan, ReadsAFile) {
  const auto p = parse_plan(good, usual);
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_EQ(p->hypothesis, "it goes on");
  EXPECT_EQ(p->baseline, std::chrono::seconds(1));
  EXPECT_EQ(p->recover, std::chrono::seconds(30));
  EXPECT_EQ(p->after.count(), 0) << "nothing in [expect after] asks for it";
  ASSERT_EQ(p->probes.size(), 1u);
  const auto& web = p->probes[0];
  EXPECT_EQ(web.port, 8080);
  EXPECT_EQ(web.path.before + "|" + web.path.after, "/item/|?x=1");
  EXPECT_EQ(web.path.last, 20u);
  EXPECT_EQ(web.interval, std::chrono::milliseconds(100));
  EXPECT_EQ(web.workers(), 21u);
  ASSERT_EQ(web.status.size(), 2u);
  EXPECT_EQ(web.status[1].high, 499);
  EXPECT_EQ(web.marks, (std::vector<mark>{{"X-Source", "a b"}}));
  EXPECT_EQ(p->faults[0].spec.value, "5ms");
  std::vector<std::string> texts;
  for (const auto& e : p->expectations) texts.push_back((e.implied ? "implied " : "") + e.text);
  EXPECT_EQ(texts, (std::vector<std::string>{"header X-Source: a b >= 80%", "status 5xx < 1%", "implied success_rate >= 99%", "implied fired f >= 1", "implied recovers_within = 30s"}));
}

TEST(Plan, VariablesComeFromTheEnvironmentElseFromTheDefault) {
  EXPECT_EQ(parse_plan(good, variables({{"PORT", "1"}, {"DELAY", "7ms"}}))->faults[0].spec.value, "7ms");
  EXPECT_EQ(parse_plan(good, variables({{"PORT", "1"}, {"DELAY", ""}}))->faults[0].spec.value, "5ms");
  const auto broken = parse_plan(good, variables({{"PORT", "1\n[fault g]"}}));
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().message.find("line break"), std::string::npos);
}

TEST(Plan, WhatIsWrittenReplacesWhatIsImplied) {
  const auto p = parse_plan(good + "fired f >= 0\n[expect after]\nrecovers_within = 2s\n[expect baseline]\nsuccess_rate > 1%\n", usual);
  ASSERT_TRUE(p) << p.error().message;
  for (const auto& e : p->expectations) EXPECT_FALSE(e.implied) << e.text;
}

TEST(Plan, SaysLineWordAndWhatWouldBeRight) {
  struct row {
    const char *what, *with;
    int line;
    const char *word, *said;
  };
  const row rows[] = {
      {"[experiment]", "[experimnt]", 1, "experimnt", "did you mean [experiment]"},
      {"[experiment]", "x = 1\n[experiment]", 1, "x = 1", "[experiment] is expected first"},
      {"name = a", "nam = a", 2, "nam", "did you mean 'name'"},
      {"name = a", "", 1, "name", "name is missing"},
      {"name = a", "name = a\nname = b", 3, "name", "the first is on line 2"},
      {"baseline = 1s", "baseline = 1", 5, "1", "no unit"},
      {"baseline = 1s", "baseline = 2h", 5, "2h", "100ms to 1h"},
      {"baseline = 1s", "baseline", 5, "baseline", "neither [section] nor key = value"},
      {"baseline = 1s", "healthy = 0", 5, "0", "healthy"},
      {"kind = http", "kind = htp", 8, "htp", "did you mean 'http'"},
      {"kind = http", "", 7, "kind", "http, tcp, command, redis, log, stat, breaker or timeline"},
      {"kind = http", "kind = tcp", 9, "url", "url"},
      {"http://127.0.0.1", "https://127.0.0.1", 9, "https://127.0.0.1:8080/item/{1..20}?x=1", "TLS"},
      {"{1..20}", "{20..1}", 9, "{20..1}?x=1", "{1..1000}"},
      {"${PORT}", "${PRT}", 9, "${PRT}", "${PRT:-default}"},
      {"${PORT}", "${PORT", 9, nullptr, "${NAME:-default}"},
      {"${PORT}", "70000", 9, nullptr, "http://HOST[:PORT]/PATH"},
      {"status = 200", "status = 2000", 10, "2000", "200..399"},
      {"rate = 10/s", "rate = fast", 11, "fast", "0.001 to 1000"},
      {"rate = 10/s", "rate = 900/s", 7, "timeout", "at most 128"},
      {"rate = 10/s", "rate = 10/s\ninterval = 1s", 11, "rate", "twice"},
      {"[fault f]", "[fault]", 12, "fault", "[fault NAME]"},
      {"[fault f]", "[probe web]", 12, "probe web", "the first is on line 7"},
      {"kind = latency", "kind = latncy", 13, "latncy", "did you mean 'latency'"},
      {"target = 127.0.0.1:1", "target = 127.0.0.1:1\nowner = 1", 15, "owner", "end with it"},
      {"${DELAY:-5ms}", "5", 15, "5", "no unit"},
      {"[expect during]", "[expect durng]", 16, "expect durng", "did you mean 'expect during'"},
      {"status 5xx < 1%", "recovers_within = 1s", 18, "recovers_within", "[expect after]"},
      {"status 5xx < 1%", "fired g > 1", 18, "g", "expected one of f"},
  };
  for (const auto& r : rows) {
    const auto p = parse_plan(replaced(good, r.what, r.with), usual);
    ASSERT_FALSE(p) << r.with;
    const auto& e = p.error();
    EXPECT_TRUE(e.message.starts_with("line " + std::to_string(r.line) + ": ")) << r.with << " → " << e.message;
    EXPECT_NE(e.message.find(r.said), std::string::npos) << r.with << " → " << e.message;
    if (r.word) {
      EXPECT_EQ(e.word, r.word) << e.message;
    }
  }
}

TEST(Plan, EveryPartIsNeeded) {
  const std::string head = "[experiment]\nname = a\nhypothesis = b\n", probe = "[probe p]\nkind = command\ncommand = true\n",
                    fault = "[fault f]\nkind = observe\ntarget = 127.0.0.1:1\n", expect = "[expect during]\nsuccess_rate > 1%\n";
  EXPECT_TRUE(parse_plan(head + probe + fault + expect, usual));
  EXPECT_FALSE(parse_plan("", usual));
  EXPECT_FALSE(parse_plan(probe + fault + expect, usual));
  EXPECT_FALSE(parse_plan(head + fault + expect, usual));
  EXPECT_FALSE(parse_plan(head + probe + expect, usual));
  EXPECT_FALSE(parse_plan(head + probe + fault, usual));
  EXPECT_FALSE(parse_plan(head + probe + fault + "[expect during]\nfired f >= 1\n", usual)) << "that expects nothing of the program";
  EXPECT_FALSE(parse_plan(head + probe + fault + expect + std::string(1, '\0'), usual));
  EXPECT_FALSE(parse_plan(head + probe + fault + expect + std::string(400, 'x'), usual));
}

}  // namespace
