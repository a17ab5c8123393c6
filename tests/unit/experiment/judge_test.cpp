// Every metric has an outcome in which an expectation about it is met, and one in which it is not: one that can not fail is
// worth nothing.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "control/experiment/breaker_log.hpp"
#include "control/experiment/outcome.hpp"

namespace {

using namespace chaos::experiment;

constexpr std::int64_t second = 1'000'000'000, milli = 1'000'000;

const std::string file = R"([experiment]
name = n
hypothesis = h
[probe web]
kind = http
url = http://127.0.0.1:1/
fallback = X-Source: postgres
[probe app]
kind = log
path = /tmp/x
[process server]
pid = 1
[fault cut]
kind = down
target = 127.0.0.1:1
)";

// Baseline 0..10 s, faults 10..20 s, recovery until 21 s, after 21..31 s. 10 requests a second: 1 ms and good, from the fallback
// while the faults are there. A breaker of pid 7 opens at 10.5 s after 5 failures, is half open at 15.5 s, and closed then.
struct world {
  plan p;
  outcome o;
  explicit world(const std::string& expect) {
    auto read = parse_plan(file + expect, process_environment());
    if (!read) throw std::runtime_error(read.error().message);
    p = *read;
    o.phases = {{phase::baseline, 0, 10 * second}, {phase::inject, 10 * second, 10 * second}, {phase::observe, 10 * second, 20 * second},
                {phase::clean_up, 20 * second, 20 * second}, {phase::recover, 20 * second, 21 * second}, {phase::after, 21 * second, 31 * second}};
    o.probes = {{"web", false, true, {}, 200 * milli, {}}, {"app", false, true, {}, 100 * milli, {}}};
    for (std::int64_t t = 0; t < 31 * second; t += second / 10) {
      sample s;
      s.due_ns = t, s.latency_ns = milli, s.status = 200, s.good = true;
      s.marks = t >= 10 * second && t < 20 * second ? 1 : 0;
      o.probes[0].samples.push_back(s);
      s.status = 0, s.marks = 0;
      o.probes[1].samples.push_back(s);
    }
    o.faults = {{1, "cut", "down", "x", 20, 10, 0, false, ""}};
    o.transitions = {{10 * second + 500 * milli, 7, "redis", "closed", "open", "consecutive_failures", 5},
                     {15 * second + 500 * milli, 7, "redis", "open", "half_open", "recovery_timeout", 0},
                     {15 * second + 600 * milli, 7, "redis", "half_open", "closed", "probes_succeeded", 0}};
    o.calls = {{10 * second + 100 * milli, 7, "cut", 5}, {15 * second + 510 * milli, 7, "cut", 1}};
    o.processes = {{"", {}, {}}, {"server", {}, {}}};
    for (std::int64_t t = 0; t < 31 * second; t += second / 4)
      for (auto& one : o.processes) one.usages.push_back({t, 0.5, 0.25});
  }
  std::vector<sample>& web() { return o.probes[0].samples; }
  void in(std::int64_t from, std::int64_t to, const std::function<void(sample&)>& change) {
    for (auto& s : web())
      if (s.due_ns >= from && s.due_ns < to) change(s);
  }
  finding judged(const std::string& text) {
    for (auto& probe : o.probes) {
      probe.windows[0] = statistics_of(between(probe.samples, 0, 10 * second), 10);
      probe.windows[1] = statistics_of(between(probe.samples, 10 * second, 20 * second), 10);
      probe.windows[2] = statistics_of(between(probe.samples, 21 * second, 31 * second), 10);
    }
    judge(p, o);
    for (const auto& f : o.findings)
      if (f.expected.text == text && !f.expected.implied) return f;
    throw std::runtime_error("no finding about " + text);
  }
};

const auto bad = [](sample& s) { s.good = false, s.failure = 3, s.status = 0, s.marks = 0; };
const auto slow = [](sample& s) { s.latency_ns = 100 * milli; };
const auto late = [](sample& s) { s.good = false, s.timed_out = true, s.failure = 1, s.latency_ns = 2 * second; };
const auto s500 = [](sample& s) { s.good = false, s.status = 500, s.failure = 4, s.marks = 0; };
constexpr std::int64_t d0 = 10 * second, d1 = 20 * second;  // during

struct row {
  const char* line;
  std::function<void(world&)> wrong;  // makes it fail
};

const row rows[] = {
    {"web success_rate >= 99%", [](world& w) { w.in(d0, d0 + second, bad); }},
    {"web error_rate < 0.01", [](world& w) { w.in(d0, d0 + second, bad); }},
    {"web timeout_rate < 1%", [](world& w) { w.in(d0, d0 + second, late); }},
    {"web fallback_ratio >= 0.99", [](world& w) { w.in(d0, d0 + second, [](sample& s) { s.marks = 0; }); }},
    {"web status 5xx < 1%", [](world& w) { w.in(d0, d0 + second, s500); }},
    {"web header X-Source: postgres >= 99%", [](world& w) { w.in(d0, d0 + second, bad); }},
    {"web mean < 2ms", [](world& w) { w.in(d0, d1, slow); }},
    {"web p50 < 2ms", [](world& w) { w.in(d0, d1, slow); }},
    {"web p90 < 2ms", [](world& w) { w.in(d0, d0 + 2 * second, slow); }},
    {"web p95 < 2ms", [](world& w) { w.in(d0, d0 + second, slow); }},
    {"web p99 < 2ms", [](world& w) { w.in(d0, d0 + second, slow); }},
    {"web max < 2ms", [](world& w) { w.in(d0, d0 + second / 10, slow); }},
    {"web throughput >= 9/s", [](world& w) { w.in(d0, d0 + 2 * second, bad); }},
    {"web samples >= 100", [](world& w) { std::erase_if(w.web(), [](const sample& s) { return s.due_ns == d0; }); }},
    {"web latency_ratio < 5", [](world& w) { w.in(d0, d1, slow); }},
    {"web latency_p95_ratio < 5", [](world& w) { w.in(d0, d0 + second, slow); }},
    {"web latency_p99_ratio < 5", [](world& w) { w.in(d0, d0 + second, slow); }},
    {"web throughput_ratio >= 0.8", [](world& w) { w.in(d0, d0 + 3 * second, bad); }},
    {"cpu < 80%", [](world& w) { for (auto& u : w.o.processes[0].usages) u.cpu = 0.9; }},
    {"cpu server < 80%", [](world& w) { for (auto& u : w.o.processes[1].usages) u.cpu = 0.9; }},
    {"memory < 80%", [](world& w) { w.o.processes[0].usages[60].memory = 0.9; }},
    {"memory server < 80%", [](world& w) { w.o.processes[1].usages[60].memory = 0.9; }},
    {"fired cut >= 1", [](world& w) { w.o.faults[0].fired = 0; }},
    {"matched cut >= 1", [](world& w) { w.o.faults[0].matched = 0; }},
    {"app log_contains timed out", [](world& w) { for (auto& s : w.o.probes[1].samples) s.marks = 0; }},
    {"app log_lacks panic", [](world& w) { for (auto& s : w.o.probes[1].samples) s.marks |= 1; }},
    {"opens_within redis = 5 failures", [](world& w) { w.o.transitions[0].failures = 6; }},
    {"half_opens_after redis = 5s ±5%", [](world& w) { w.o.transitions[1].at_ns += 300 * milli; }},
    {"no_calls_while_open redis cut", [](world& w) { w.o.calls.push_back({12 * second, 7, "cut", 1}); }},
    {"web fails_fast_under redis = 2ms", [](world& w) { w.in(12 * second, 13 * second, slow); }},
    {"no_crash", [](world& w) { w.o.processes[1].ended.push_back({15 * second, 4711}); }},
    {"no_hang", [](world& w) { w.in(d0, d0 + second / 10, late); }},
    {"web recovers_within = 1s", [](world& w) { w.o.probes[0].recovery_ns = 2 * second; }},
};

TEST(Judge, EveryMetricCanHoldAndFail) {
  std::map<std::string, int> seen;
  for (const auto& r : rows) {
    const std::string expect = std::string("[expect]\n") + r.line + "\nweb max < 1h\n";
    world good(expect);
    if (std::string(r.line).starts_with("app log_contains")) good.o.probes[1].samples[150].marks = 1;
    const auto held = good.judged(r.line);
    EXPECT_EQ(held.state, finding_state::pass) << r.line << ": " << measured_text(held) << " " << held.reason;
    EXPECT_EQ(held.reason, "");
    world wrong(expect);
    r.wrong(wrong);
    const auto failed = wrong.judged(r.line);
    EXPECT_EQ(failed.state, finding_state::fail) << r.line << ": " << measured_text(failed);
    EXPECT_EQ(wrong.o.verdict, verdict::failed) << r.line;
    ++seen[info_of(held.expected.what).name];
  }
  for (const auto& m : all_metrics()) EXPECT_GE(seen[m.name], 1) << m.name << " has no case here";
}

TEST(Judge, WhatWasNotMeasuredIsNotMet) {
  const auto silent = [](const char* line) {
    world w(std::string("[expect]\n") + line + "\nweb max < 1h\n");
    w.o.transitions.clear();
    w.o.processes.resize(1);
    w.o.processes[0].usages.clear();
    return w.judged(line);
  };
  for (const char* line : {"opens_within redis = 5 failures", "half_opens_after redis = 5s ±5%", "no_calls_while_open redis cut", "web fails_fast_under redis = 2ms", "cpu < 80%", "memory server < 80%"}) {
    const auto f = silent(line);
    EXPECT_EQ(f.state, finding_state::fail) << line;
    EXPECT_NE(f.reason, "") << line;
  }
}

TEST(Judge, WhatWasMeasuredNeedsNoExcuse) {
  world w("[expect]\ncpu server < 10%\nweb max < 1h\n");
  const auto f = w.judged("cpu server < 10%");
  EXPECT_EQ(f.state, finding_state::fail);
  EXPECT_EQ(f.reason, "");
}

TEST(Judge, ABreakerThatNeverHalfOpensIsFoundOut) {
  world w("[expect]\nhalf_opens_after redis = 5s\nweb max < 1h\n");
  w.o.transitions.resize(1);
  const auto f = w.judged("half_opens_after redis = 5s");
  EXPECT_EQ(f.state, finding_state::fail);
  EXPECT_NE(f.reason.find("not half open"), std::string::npos);
}

TEST(Judge, CallsUnderWayWhenItOpenedAndThoseOfOthersDoNotCount) {
  world w("[expect]\nno_calls_while_open\nweb max < 1h\n");
  w.o.calls.push_back({10 * second + 550 * milli, 7, "cut", 3});  // 50 ms after it opened
  w.o.calls.push_back({12 * second, 8, "cut", 3});                // another process, whose breaker is closed
  EXPECT_EQ(w.judged("no_calls_while_open").state, finding_state::pass);
  w.o.calls.push_back({12 * second, 0, "cut", 3});  // of several processes
  EXPECT_EQ(w.judged("no_calls_while_open").measured, 3);
}

TEST(Transitions, AreReadOffAnnotations) {
  timeline_event e;
  e.kind = "annotation", e.category = "breaker", e.pid = 7, e.time_ns = 150, e.text = "orders: eu: closed -> open (failure_rate) after 12 failures";
  const auto t = transition_of(e, 100);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->breaker, "orders: eu");
  EXPECT_EQ(t->from + ">" + t->to, "closed>open");
  EXPECT_EQ(t->reason, "failure_rate");
  EXPECT_EQ(t->failures, 12u);
  EXPECT_EQ(t->at_ns, 50);
  for (const char* other : {"redis: fallback cache: used", "redis: rejected while open, retry after 12 ms", "a -> b", ""}) {
    e.text = other;
    EXPECT_FALSE(transition_of(e, 0)) << other;
  }
}

TEST(Bands, FollowABreakerFromTheBeginningToTheEnd) {
  world w("[expect]\nweb max < 1h\n");
  const auto bands = breaker_bands(w.o, 31 * second);
  ASSERT_EQ(bands.size(), 4u);
  EXPECT_EQ(bands[0].text, "closed");
  EXPECT_EQ(bands[0].from_ns, 0);
  EXPECT_EQ(bands[1].text, "open");
  EXPECT_EQ(bands[3].text, "closed");
  EXPECT_EQ(bands[3].to_ns, 31 * second);
}

}  // namespace
