// The phases without a daemon: faults that are made up, a probe that runs a command whose answer they decide.
#include <gtest/gtest.h>

#include <csignal>

#include "made_up_session.hpp"

namespace {

using namespace chaos_test;

class Runner : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(flag); }
  plan file(const std::string& expect, const std::string& command = "test ! -e FLAG") {
    std::string text = "[experiment]\nname=n\nhypothesis=h\nbaseline=200ms\nobserve=300ms\nrecover=400ms\nhealthy=3\n[probe p]\nkind=command\ncommand=" + command +
                       "\nrate=25/s\n[fault f]\nkind=down\ntarget=127.0.0.1:1\n" + expect;
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
  const auto o = run(file("[expect during]\nerror_rate >= 0%\n[expect after]\nsuccess_rate >= 0%\n"), faults, {});
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
  const auto o = run(p, faults, {});
  EXPECT_GE(o.probes[0].windows[1].timed_out, 3u);
  EXPECT_EQ(o.probes[0].windows[1].good, 0u);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(10));
}

}  // namespace
