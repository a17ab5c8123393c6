// The probes that look at logs, the timeline and chaosd; the ones that go over the network have tests of their own.
#include <gtest/gtest.h>

#include "control/experiment/probe.hpp"
#include "made_up_session.hpp"

namespace {

using namespace chaos_test;

class Probes : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path); }
  std::string ask(probe& p) {
    sample s;
    p.ask(0, steady::now() + std::chrono::seconds(1), s);
    marks = s.marks;
    return failure_texts[s.failure];
  }
  void write(const std::string& text) { std::ofstream(path, std::ios::app) << text; }
  const std::string path = std::filesystem::temp_directory_path() / ("chaos-log-" + std::to_string(getpid()));
  probe_plan p;
  std::uint32_t marks = 0;
  made_up session{path + ".flag"};
};

TEST_F(Probes, ALogIsGoodUntilTheLineComes) {
  write("ERROR of yesterday\n");
  p.kind = probe_kind::log, p.file = path, p.match = "ERROR|PANIC";
  p.marks = {{"", "timed out"}, {"", "nothing like this"}};
  const auto probe = make_log_probe(p);
  EXPECT_EQ(ask(*probe), "");
  write("all is well\nERR");
  EXPECT_EQ(ask(*probe), "") << "half a line is none";
  write("OR: redis timed out\n");
  EXPECT_EQ(ask(*probe), "seen");
  EXPECT_EQ(marks, 1u);
  EXPECT_EQ(ask(*probe), "") << "since the last look";
  EXPECT_EQ(marks, 0u);
}

TEST_F(Probes, ALogIsGoodOnceTheLineCame) {
  p.kind = probe_kind::log, p.file = path, p.match = "^ready$", p.absent = false;
  const auto probe = make_log_probe(p);
  EXPECT_EQ(ask(*probe), "not there");
  write("not ready\n");
  EXPECT_EQ(ask(*probe), "not seen");
  write("ready\n");
  EXPECT_EQ(ask(*probe), "");
  EXPECT_EQ(ask(*probe), "") << "for ever";
}

TEST_F(Probes, ALogThatIsRotatedOrCutGoesOn) {
  write("one\n");
  p.kind = probe_kind::log, p.file = path, p.match = "ERROR";
  const auto probe = make_log_probe(p);
  EXPECT_EQ(ask(*probe), "");
  std::filesystem::rename(path, path + ".1");
  write("ERROR in the new one\n");
  EXPECT_EQ(ask(*probe), "seen");
  std::filesystem::remove(path + ".1");
  std::filesystem::resize_file(path, 0);
  EXPECT_EQ(ask(*probe), "");
  write("ERROR\n");
  EXPECT_EQ(ask(*probe), "seen");
}

TEST_F(Probes, TheTimelineIsMatchedLineByLine) {
  timeline_lines lines;
  p.kind = probe_kind::timeline, p.match = "\"kind\":\"lapse\"", p.absent = false;
  const auto present = make_timeline_probe(p, lines);
  probe_plan q = p;
  q.absent = true;
  const auto absent = make_timeline_probe(q, lines);
  EXPECT_EQ(ask(*present), "not seen");
  EXPECT_EQ(ask(*absent), "");
  lines.add("{\"kind\":\"attach\"}");
  lines.add("{\"kind\":\"lapse\"}");
  EXPECT_EQ(ask(*present), "");
  EXPECT_EQ(ask(*absent), "seen");
  EXPECT_EQ(ask(*present), "");
  EXPECT_EQ(ask(*absent), "");
}

TEST_F(Probes, ACounterHasBounds) {
  p.kind = probe_kind::stat, p.counter = "fired", p.rule = "f", p.at_least = 2, p.at_most = 5;
  const auto probe = make_stat_probe(p, session);
  session.fires = 1;
  EXPECT_EQ(ask(*probe), "too low");
  session.fires = 2;
  EXPECT_EQ(ask(*probe), "");
  session.fires = 6;
  EXPECT_EQ(ask(*probe), "too high");
  probe_plan q = p;
  q.counter = "frd";
  EXPECT_EQ(ask(*make_stat_probe(q, session)), "not there");
}

TEST_F(Probes, EveryBreakerOfTheNameMustBeInTheState) {
  p.kind = probe_kind::breaker, p.breaker = "redis";
  const auto probe = make_breaker_probe(p, session);
  EXPECT_EQ(ask(*probe), "not there");
  session.breaker_states = {{"redis", "closed", 1}, {"postgres", "open", 1}};
  EXPECT_EQ(ask(*probe), "");
  session.breaker_states.push_back({"redis", "open", 2});
  EXPECT_EQ(ask(*probe), "wrong state");
  p.states = {"closed", "open"};
  EXPECT_EQ(ask(*probe), "");
}

}  // namespace
