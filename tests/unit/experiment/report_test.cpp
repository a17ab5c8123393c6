// Every form is made of the JSON document, and what other people wrote into it can not break out of any of them.
#include "control/experiment/report.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace {

using namespace chaos::experiment;
using nlohmann::json;

outcome small_outcome() {
  outcome o;
  o.name = "a <b> & \"c\"", o.hypothesis = "</script><script>alert(1)</script>", o.verdict = verdict::failed, o.reason = "1 of 2";
  o.phases = {{phase::baseline, 0, 1'000'000'000}, {phase::inject, 1'000'000'000, 1'000'000'000}, {phase::observe, 1'000'000'000, 2'000'000'000}};
  probe_outcome p{"web", true, true, {}, -1, {}};
  for (int i = 0; i < 20; ++i) {
    sample s;
    s.due_ns = i * 100'000'000, s.latency_ns = 1'000'000 * (i + 1), s.good = i < 15, s.status = s.good ? 200 : 500, s.failure = s.good ? 0 : 4;
    p.samples.push_back(s);
  }
  p.windows[0] = statistics_of(between(p.samples, 0, 1'000'000'000), 1);
  p.windows[1] = statistics_of(between(p.samples, 1'000'000'000, 2'000'000'000), 1);
  p.windows[2] = statistics_of({}, 0);
  o.probes.push_back(std::move(p));
  o.faults = {{1, "f", "down", "127.0.0.1:1", 5, 5, 0, false, ""}};
  o.bands = {{"fault", "f", "down 127.0.0.1:1", 1'000'000'000, 2'000'000'000}, {"breaker", "redis", "open", 1'500'000'000, 2'000'000'000}};
  expectation e;
  e.what = metric::success_rate, e.probe = "web", e.text = "success_rate >= 99%", e.bound = 0.99;
  o.findings = {{e, finding_state::fail, 0.5, "it <did> not"}, {e, finding_state::pass, 1, ""}, {e, finding_state::not_judged, NAN, ""}};
  o.notes = {"a note with ]]> and <tags>"};
  return o;
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++n;
  return n;
}

TEST(Report, KeptAsJsonItIsTheSameInEveryForm) {
  const json now = json_of(small_outcome());
  const auto later = report_from(now.dump());
  ASSERT_TRUE(later) << later.error().message;
  EXPECT_EQ(html_of(*later), html_of(now));
  EXPECT_EQ(markdown_of(*later), markdown_of(now));
  EXPECT_EQ(junit_of(*later), junit_of(now));
}

TEST(Report, HtmlNeedsNothingElseAndLetsNothingOut) {
  const auto page = html_of(json_of(small_outcome()));
  EXPECT_EQ(count(page, "<script"), 3u) << "data, uPlot, ours";
  EXPECT_EQ(count(page, "</script"), 3u);
  EXPECT_EQ(count(page, "<b>"), 0u);
  EXPECT_NE(page.find("a &lt;b&gt; &amp; &quot;c&quot;"), std::string::npos);
  for (const char* outside : {"src=", "href=", "@import", "url(http"}) EXPECT_EQ(count(page, outside), 0u) << outside;
  EXPECT_NE(page.find("Permission is hereby granted"), std::string::npos) << "uPlot's licence goes with it";
}

TEST(Report, JunitHasATestCaseAnExpectation) {
  const auto xml = junit_of(json_of(small_outcome()));
  EXPECT_EQ(count(xml, "<testcase "), 3u);
  EXPECT_EQ(count(xml, "<failure "), 1u);
  EXPECT_EQ(count(xml, "<skipped/>"), 1u);
  EXPECT_NE(xml.find("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""), std::string::npos) << xml;
  EXPECT_NE(xml.find("it &lt;did&gt; not"), std::string::npos);
  auto aborted = small_outcome();
  aborted.verdict = verdict::aborted;
  const auto broken = junit_of(json_of(aborted));
  EXPECT_EQ(count(broken, "<error "), 1u);
  EXPECT_NE(broken.find("tests=\"4\" failures=\"1\" errors=\"1\""), std::string::npos) << broken;
}

TEST(Report, WhatIsNoReportIsRefused) {
  const json good = json_of(small_outcome());
  for (const char* text : {"", "{", "[]", "{}", "{\"name\":\"x\"}"}) EXPECT_FALSE(report_from(text)) << text;
  for (const char* key : {"name", "verdict", "phases", "probes", "expectations", "bands", "notes"}) {
    json without = good, other = good;
    without.erase(key);
    EXPECT_FALSE(report_from(without.dump())) << key;
    other[key] = 7;
    EXPECT_FALSE(report_from(other.dump())) << key;
  }
  json damaged = good;
  damaged["expectations"][0].erase("text");
  EXPECT_FALSE(report_from(damaged.dump()));
}

TEST(Report, AnExperimentThatNeverBeganHasOneToo) {
  outcome o;
  o.reason = "chaosd said no";
  const json j = json_of(o);
  ASSERT_TRUE(report_from(j.dump()));
  EXPECT_NE(html_of(j).find("chaosd said no"), std::string::npos);
  EXPECT_NE(junit_of(j).find("chaosd said no"), std::string::npos);
  EXPECT_NE(markdown_of(j).find("chaosd said no"), std::string::npos);
}

}  // namespace
