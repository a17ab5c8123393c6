// A connection that is closed in one direction goes on in the other: no fault but a closing one makes a full close of it, and
// the end travels as data does.
#include "channels.hpp"
#include "ways.hpp"

namespace chaos::gate {
namespace {

struct half_case {
  const char* rule;
  double answer_ms;  // how late the answer is at least
};
const half_case half_cases[] = {
    {"latency {} 20ms", 20},
    {"latency {} 20ms --direction up", 0},
    {"slow_close {} 20ms", 0},
    {"limit_data {} 100B", 0},
    {"timeout {} 500ms --on recvfrom,sendto", 0},  // its time has not come for these calls
    {"bandwidth {} 2KB/s --direction both", 0},
    {"slicer {} --average-size 2B --direction both", 0},
    {"loss {} 0", 0},
};

class Halves : public Gate, public testing::WithParamInterface<way> {
 protected:
  const way how = GetParam();
  std::uint32_t fault(const std::string& rule, const channel& c) {
    std::string words = rule;
    return s.set(words.replace(words.find("{}"), 2, c.target));
  }
};
INSTANTIATE_TEST_SUITE_P(By, Halves, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

TEST_P(Halves, TheProgramEndsItsSideAndReadsTheAnswer) {
  for (const over o : {over::tcp, over::unix_stream})
    for (const auto& [rule, answer_ms] : half_cases) {
      channel c(o);
      const auto id = fault(rule, c);
      if (how != way::blocking) set_nonblocking(c.near);
      ASSERT_TRUE(write_by(c.near, how, "question")) << rule;
      ASSERT_EQ(shutdown(c.near, SHUT_WR), 0) << rule;
      ASSERT_EQ(c.hear(9), "question") << rule << ": and then its end";
      const double start = monotonic_ms();
      c.tell("answer");
      EXPECT_EQ(read_by(c.near, how, 6), "answer") << rule << " " << name_of(o);
      EXPECT_GE(monotonic_ms() - start, answer_ms - early_ms) << rule;
      c.tell("and more");
      EXPECT_EQ(read_by(c.near, how, 8), "and more") << rule << " " << name_of(o);
      c.far.reset();
      EXPECT_EQ(read_by(c.near, how, 1), "") << rule;
      if (answer_ms > 0) { EXPECT_GE(s.count(id).fired, 3u) << rule << ": two answers and the end"; }
      s.clear();
    }
}

TEST_P(Halves, ThePeerEndsItsSideAndHearsTheAnswer) {
  for (const over o : {over::tcp, over::unix_stream})
    for (const auto& [rule, answer_ms] : half_cases) {
      channel c(o);
      fault(rule, c);
      if (how != way::blocking) set_nonblocking(c.near);
      const double start = monotonic_ms();
      c.tell("question");
      ASSERT_EQ(syscall(SYS_shutdown, c.far.operator int(), SHUT_WR), 0);
      EXPECT_EQ(read_by(c.near, how, 100), "question") << rule << " " << name_of(o) << ": and then the end";
      EXPECT_GE(monotonic_ms() - start, answer_ms - early_ms) << rule;
      EXPECT_TRUE(write_by(c.near, how, "answer")) << rule << " " << name_of(o);
      EXPECT_EQ(c.hear(6), "answer") << rule;
      EXPECT_TRUE(write_by(c.near, how, "and more")) << rule;
      EXPECT_EQ(c.hear(8), "and more") << rule;
      s.clear();
    }
}

TEST_P(Halves, APartitionAndATimeoutHealAroundAHalfCloseWithoutLoss) {
  for (const over o : {over::tcp, over::unix_stream})
    for (const char* const rule : {"partition {}", "timeout {}"}) {
      channel c(o);
      const auto id = fault(rule, c);
      ASSERT_EQ(shutdown(c.near, SHUT_WR), 0);
      c.tell("answer");
      ASSERT_EQ(syscall(SYS_shutdown, c.far.operator int(), SHUT_WR), 0);
      std::thread healer([&] {
        EXPECT_TRUE(wait_until([&] { return s.count(id).fired > 0; }));
        s.remove(id);
      });
      if (how != way::blocking) {
        set_nonblocking(c.near);
        char b;
        EXPECT_EQ(recv(c.near, &b, 1, 0), -1);  // what tells it of the rule
      }
      EXPECT_EQ(read_by(c.near, how, 100), "answer") << rule << " " << name_of(o);
      char b;
      EXPECT_EQ(recv(c.near, &b, 1, 0), 0) << "the end";
      healer.join();
      EXPECT_GE(s.count(id).fired, 1u);
      s.clear();
    }
}

}  // namespace
}  // namespace chaos::gate
