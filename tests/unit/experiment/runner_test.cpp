// The phases without a daemon: faults that are made up, a probe that runs a command whose answer they decide.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <tuple>

#include <sys/wait.h>

#include "made_up_session.hpp"

namespace {

using namespace chaos_test;

std::chrono::steady_clock::time_point steady_now() { return std::chrono::steady_clock::now(); }

class Runner : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(flag); }
  plan file(const std::string& expect, const std::string& command = "test ! -e FLAG", const std::string& fault = "") {
    std::string text = "[experiment]\nname=n\nhypothesis=h\nbaseline=200ms\nobserve=300ms\nrecover=5s\nhealthy=3\n[probe p]\nkind=command\ncommand=" + command +
                       "\nrate=25/s\n[fault f]\nkind=down\ntarget=127.0.0.1:1\n" + fault + expect;
    for (std::size_t at; (at = text.find("FLAG")) != std::string::npos;) text.replace(at, 4, flag);
    auto p = parse_plan(text, process_environment());
    EXPECT_TRUE(p) << p.error().message;
    return *p;
  }
  const std::string flag = std::filesystem::temp_directory_path() / ("chaos-experiment-" + std::to_string(getpid()));
  made_up faults{flag};
};

TEST_F(Runner, HoldsAndCleansUp) {
  const auto o = run(file("[expect during]\nerror_rate >= 50%\n[expect after]\nsuccess_rate >= 99%\n"), faults, {});
  EXPECT_EQ(o.verdict, verdict::held) << o.reason;
  EXPECT_EQ(faults.removed, 1);
  EXPECT_GT(o.probes[0].windows[0].samples, 3u);
  EXPECT_GE(o.probes[0].recovery_ns, 0);
  EXPECT_EQ(faults.specs_[0].get(rules::option::owner_), std::to_string(getpid()));
  EXPECT_EQ(faults.specs_[0].get(rules::option::for_), "60300ms");
}

TEST_F(Runner, FailsWhenAnExpectationDoes) {
  const auto o = run(file("[expect during]\nsuccess_rate >= 99%\n"), faults, {});
  EXPECT_EQ(o.verdict, verdict::failed);
  EXPECT_EQ(o.reason, "1 of 4 expectations were not met");
}

TEST_F(Runner, FailsWhenTheFaultNeverFired) {
  faults.fires = 0;
  const auto o = run(file("[expect during]\nerror_rate >= 0%\n"), faults, {});
  EXPECT_EQ(o.verdict, verdict::failed);
  EXPECT_NE(o.reason.find("not put to the test: f never fired"), std::string::npos);
}

TEST_F(Runner, FailsWhenItNeverRecovers) {
  faults.heals = false;
  auto p = file("[expect during]\nerror_rate >= 0%\n[expect after]\nsuccess_rate >= 0%\n");
  p.recover = std::chrono::milliseconds(400);
  const auto o = run(p, faults, {});
  EXPECT_EQ(o.verdict, verdict::failed);
  EXPECT_EQ(o.probes[0].recovery_ns, -1);
  EXPECT_EQ(o.findings.back().state, finding_state::fail);
  EXPECT_EQ(measured_text(o.findings.back()), "never");
}

TEST_F(Runner, LeavesABrokenSteadyStateAlone) {
  const auto o = run(file("[expect during]\nerror_rate >= 0%\n", "false"), faults, {});
  EXPECT_EQ(o.verdict, verdict::not_run);
  EXPECT_EQ(faults.injected, 0);
  EXPECT_EQ(faults.removed, 0);
}

TEST_F(Runner, RemovesAlsoWhatItCouldNotPutInForce) {
  faults.refuse = true;
  const auto o = run(file("[expect during]\nerror_rate >= 0%\n"), faults, {});
  EXPECT_EQ(o.verdict, verdict::not_run);
  EXPECT_NE(o.reason.find("no room"), std::string::npos);
  EXPECT_EQ(faults.removed, 1);
}

TEST_F(Runner, AbortsWhenTheFaultEndsOrTheDaemonIsGone) {
  faults.ends = true;
  EXPECT_EQ(run(file("[expect during]\nerror_rate >= 0%\n"), faults, {}).verdict, verdict::aborted);
  faults.ends = false, faults.gone = true;
  EXPECT_EQ(run(file("[expect during]\nerror_rate >= 0%\n"), faults, {}).verdict, verdict::aborted);
  EXPECT_EQ(faults.removed, 2);
}

TEST_F(Runner, ASignalStopsItInEveryPhase) {
  for (const auto at : {phase::baseline, phase::inject, phase::observe, phase::recover, phase::after}) {
    faults.removed = 0;
    std::atomic<int> signal{0};
    manner how;
    how.signal = &signal;
    how.tell = [&](phase p, const std::string&) { if (p == at) signal = SIGTERM; };
    const auto o = run(file("[expect during]\nerror_rate >= 0%\n[expect after]\nsuccess_rate >= 0%\n"), faults, how);
    EXPECT_EQ(o.verdict, verdict::aborted);
    EXPECT_EQ(o.reason, "stopped by SIGTERM");
    EXPECT_EQ(faults.removed, at == phase::baseline || at == phase::inject ? 0 : 1) << phase_names[static_cast<int>(at)];
  }
}

TEST_F(Runner, ADryRunJudgesOnlyWhetherTheFaultsWouldFire) {
  faults.breaks = false;
  manner how;
  how.dry_run = true;
  auto o = run(file("[expect during]\nerror_rate >= 90%\n"), faults, how);
  EXPECT_EQ(o.verdict, verdict::dry_run);
  EXPECT_TRUE(faults.specs_[0].has(rules::option::dry_run_));
  faults.fires = 0;
  o = run(file("[expect during]\nerror_rate >= 90%\n"), faults, how);
  EXPECT_EQ(o.verdict, verdict::failed);
}

TEST_F(Runner, ACommandThatHangsIsEndedAtItsTimeout) {
  const auto before = std::chrono::steady_clock::now();
  auto p = file("[expect baseline]\nerror_rate >= 99%\n[expect during]\ntimeout_rate >= 99%\n[expect after]\nrecovers_within = 1h\n", "sleep 100");
  p.probes[0].timeout = std::chrono::milliseconds(100);
  p.recover = std::chrono::milliseconds(400);
  const auto o = run(p, faults, {});
  EXPECT_GE(o.probes[0].windows[1].timed_out, 3u);
  EXPECT_EQ(o.probes[0].windows[1].good, 0u);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(10));
}

TEST_F(Runner, SaysWhatItRemoved) {
  const auto o = run(file("[expect during]\nerror_rate >= 50%\n", "test ! -e FLAG", "[stress s]\nrun = cpu 1 10%\n"), faults, {});
  EXPECT_EQ(o.notes, (std::vector<std::string>{"clean-up: removed stress s, fault f"}));
}

TEST_F(Runner, ARuleThatIsTakenIsLeftAlone) {
  faults.taken = true;
  const auto o = run(file("[expect during]\nerror_rate >= 0%\n"), faults, {});
  EXPECT_EQ(o.verdict, verdict::not_run);
  EXPECT_EQ(faults.injected, 0);
  EXPECT_EQ(faults.removed, 0);
}

TEST_F(Runner, StepsComeAtTheirTimesAndARampReplacesItsRule) {
  auto p = file("[expect during]\nerror_rate >= 0%\n", "true", "[fault slow]\nkind=latency\ntarget=127.0.0.1:2\nvalue=10ms\nstart=150ms\nramp_to=50ms\nramp_over=100ms\n");
  const auto steps = steps_of(p);
  std::vector<std::pair<int, std::string>> planned;
  for (const auto& s : steps) planned.emplace_back(std::chrono::duration_cast<std::chrono::milliseconds>(s.at).count(), s.spec.value);
  EXPECT_EQ(planned, (std::vector<std::pair<int, std::string>>{{0, ""}, {150, "10ms"}, {200, "30ms"}, {250, "50ms"}}));
  const auto o = run(p, faults, {});
  EXPECT_EQ(o.verdict, verdict::held) << o.reason;
  EXPECT_EQ(faults.history, (std::vector<std::string>{"", "10ms", "30ms", "50ms"}));
  std::vector<std::string> bands;
  const auto inject = o.find(phase::inject)->from_ns;
  for (const auto& b : o.bands) {
    bands.push_back(b.text);
    if (b.text == "latency 10ms 127.0.0.1:2") {
      EXPECT_NEAR(static_cast<double>(b.from_ns - inject), 150e6, 100e6);
    }
    EXPECT_GE(b.to_ns, b.from_ns);
  }
  EXPECT_EQ(bands, (std::vector<std::string>{"down 127.0.0.1:1", "latency 10ms 127.0.0.1:2", "latency 30ms 127.0.0.1:2", "latency 50ms 127.0.0.1:2"}));
}

TEST_F(Runner, RampsGoThroughAnyMeasure) {
  const std::tuple<const char*, const char*, const char*> rows[] = {{"kind=bandwidth\nvalue=100KB/s", "300KB/s", "200KB/s"}, {"kind=loss\nvalue=10%", "30%", "20%"}, {"kind=loss\nvalue=0.1", "0.3", "20%"}, {"kind=latency\nvalue=2s", "1s", "1500ms"}};
  for (const auto& [from, to, middle] : rows) {
    const auto p = file("[expect during]\nerror_rate >= 0%\n", "true", std::string("[fault r]\ntarget=127.0.0.1:2\n") + from + "\nramp_over=200ms\nramp_to=" + to + "\n");
    const auto steps = steps_of(p);
    ASSERT_EQ(steps.size(), 4u);
    EXPECT_EQ(steps[2].spec.value, middle);
    EXPECT_EQ(steps[3].spec.value, to);
  }
}

TEST_F(Runner, StressRunsWhileItShouldAndEndsWithTheFaults) {
  auto p = file("[expect during]\nerror_rate >= 0%\n", "true", "[stress s]\nrun = memory 10MB\nstart = 100ms\nfor = 1s\n");
  const auto o = run(p, faults, {});
  ASSERT_EQ(faults.stressed.size(), 1u);
  EXPECT_EQ(faults.stressed[0].words, (std::vector<std::string>{"memory", "10MB"}));
  EXPECT_EQ(faults.stressed[0].length, std::chrono::seconds(1));
  EXPECT_EQ(faults.stress_ends, 1);
  manner how;
  how.dry_run = true;
  faults.stressed.clear();
  run(p, faults, how);
  EXPECT_TRUE(faults.stressed.empty()) << "a dry run puts no pressure on the machine";
}

TEST_F(Runner, StressThatFailsAborts) {
  faults.stress_over = {{"s", "stress-ng failed: no such thing"}};
  const auto o = run(file("[expect during]\nerror_rate >= 0%\n", "true", "[stress s]\nrun = cpu\n"), faults, {});
  EXPECT_EQ(o.verdict, verdict::aborted);
  EXPECT_NE(o.reason.find("no such thing"), std::string::npos);
  EXPECT_EQ(faults.removed, 1);
}

TEST_F(Runner, AConditionOfAbortEndsItAtOnce) {
  auto p = file("[abort]\nerror_rate > 50%\n[expect during]\nerror_rate >= 0%\n");
  p.observe = std::chrono::seconds(30);
  const auto began = steady_now();
  const auto o = run(p, faults, {});
  EXPECT_EQ(o.verdict, verdict::aborted);
  EXPECT_NE(o.reason.find("a condition of [abort] was met: error_rate > 50% (measured 100%"), std::string::npos) << o.reason;
  EXPECT_LT(steady_now() - began, std::chrono::seconds(10));
  EXPECT_EQ(faults.removed, 1);
}

TEST_F(Runner, AConditionOfAbortThatIsNotMetChangesNothing) {
  faults.breaks = false;
  EXPECT_EQ(run(file("[abort]\nerror_rate > 50%\nno_crash\nno_hang\nsamples > 1000\n[expect during]\nerror_rate < 1%\n"), faults, {}).verdict, verdict::held);
}

TEST_F(Runner, AProcessThatEndsIsACrash) {
  const pid_t victim = fork();
  if (victim == 0) {
    pause();
    _exit(0);
  }
  faults.breaks = false;
  faults.on_inject = [&] {
    kill(victim, SIGKILL);
    waitpid(victim, nullptr, 0);
  };
  const std::string watched = "[process victim]\npid = " + std::to_string(victim) + "\n";
  const auto o = run(file("[expect]\nno_crash\nerror_rate < 1%\n", "true", watched), faults, {});
  EXPECT_EQ(o.verdict, verdict::failed);
  const auto& f = *std::ranges::find_if(o.findings, [](const finding& one) { return one.expected.what == metric::no_crash; });
  EXPECT_EQ(f.measured, 1);
  EXPECT_EQ(f.reason, "victim pid " + std::to_string(victim) + " ended");
}

TEST_F(Runner, WithoutNamesTheProcessesUnderTheShimAreWatchedAndOneThatLivesIsNoCrash) {
  faults.breaks = false;
  faults.pids = {getpid()};
  const auto o = run(file("[abort]\nno_crash\n[expect]\nno_crash\ncpu <= 100%\nmemory < 100%\nerror_rate < 1%\n"), faults, {});
  EXPECT_EQ(o.verdict, verdict::held) << o.reason;
}

TEST_F(Runner, CpuAndMemoryOfAProcessAreMeasured) {
  const pid_t busy = fork();
  if (busy == 0)
    for (;;) asm volatile("");
  faults.breaks = false;
  auto p = file("[expect]\ncpu busy >= 0.1%\ncpu idle < 50%\nmemory busy < 50%\n", "true", "[process busy]\npid = " + std::to_string(busy) + "\n[process idle]\npid = 1\n");
  p.baseline = std::chrono::milliseconds(600), p.observe = std::chrono::milliseconds(1200);
  const auto o = run(p, faults, {});
  kill(busy, SIGKILL);
  waitpid(busy, nullptr, 0);
  EXPECT_EQ(o.verdict, verdict::held) << o.reason;
  const auto& cpu = *std::ranges::find_if(o.findings, [](const finding& one) { return one.expected.argument == "busy" && one.expected.what == metric::cpu; });
  EXPECT_GT(cpu.measured, 0.05) << "one of a few CPUs, on a machine that may be busy";
  EXPECT_GT(o.processes[1].usages.back().memory, 0);
}

TEST_F(Runner, TransitionsAndCallsComeFromTheTimeline) {
  faults.breaks = false;
  faults.on_inject = [&] {
    faults.events = {breaker_event("redis: closed -> open (consecutive_failures) after 5 failures"), breaker_event("redis: open -> half_open (recovery_timeout)", 1, std::chrono::milliseconds(150)),
                     breaker_event("redis: half_open -> closed (probes_succeeded)", 1, std::chrono::milliseconds(160))};
    timeline_event called;
    called.kind = "injection", called.rule = "f", called.pid = 1, called.count = 2;
    called.time_ns = faults.events[0].time_ns + 120'000'000;
    faults.events.push_back(called);
  };
  const auto o = run(file("[expect]\nopens_within redis = 5 failures\nhalf_opens_after redis = 150ms ±5%\nno_calls_while_open redis\n"), faults, {});
  std::map<std::string, double> measured;
  for (const auto& f : o.findings) measured[info_of(f.expected.what).name] = f.measured;
  EXPECT_EQ(measured["opens_within"], 5);
  EXPECT_NEAR(measured["half_opens_after"], 150e6, 5e6);
  EXPECT_EQ(measured["no_calls_while_open"], 2);
  EXPECT_EQ(o.verdict, verdict::failed);
}

TEST_F(Runner, ALoadCommandRunsFromTheBaselineToTheEnd) {
  const std::string file_of_pid = flag + ".pid";
  faults.breaks = false;
  const auto o = run(file("[expect during]\nerror_rate < 1%\n", "test -s " + file_of_pid, "[load bg]\nkind=command\ncommand=echo $$ > " + file_of_pid + "; exec sleep 1000\n[load short]\nkind=command\ncommand=exit 3\n[expect baseline]\nsamples >= 1\n"), faults, {});
  int pid = 0;
  std::ifstream(file_of_pid) >> pid;
  std::filesystem::remove(file_of_pid);
  ASSERT_GT(pid, 0);
  EXPECT_NE(kill(pid, 0), 0) << "it is gone";
  EXPECT_EQ(o.notes, (std::vector<std::string>{"[load short] ended by itself, with status 3", "clean-up: removed fault f", "clean-up: ended load bg"}));
}

}  // namespace
