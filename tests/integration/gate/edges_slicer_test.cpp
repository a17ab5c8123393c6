// slicer --delay: a time between slices in which the rest of the data is not there yet, however the program waits for it.
#include "channels.hpp"
#include "ways.hpp"

namespace chaos::gate {
namespace {

class Slices : public Gate, public testing::WithParamInterface<way> {
 protected:
  const way how = GetParam();
  double delayed_ms(std::uint32_t id) { return static_cast<double>(s.count(id).delayed_ns) * 1e-6; }
};
INSTANTIATE_TEST_SUITE_P(By, Slices, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

TEST_P(Slices, ComeApartByTheDelayAndTheFirstAtOnce) {
  for (const over o : {over::tcp, over::unix_stream}) {
    channel c(o);
    const auto id = s.set("slicer " + c.target + " --average-size 10B --delay 30ms");
    waiter w(c.near, how);
    const double start = monotonic_ms(), cpu = cpu_ms();
    c.tell(std::string(10, 'a') + std::string(10, 'b') + std::string(10, 'c'));
    std::string got;
    for (int i = 0; i < 3; ++i) {  // a reader that takes a short read for all there is
      ASSERT_TRUE(w.ready()) << name_of(o) << i;
      char b[64];
      ASSERT_EQ(recv(c.near, b, sizeof b, 0), 10) << name_of(o) << i;
      got.append(b, 10);
      EXPECT_TRUE(on_time(monotonic_ms() - start, 30 * i)) << name_of(o) << i;
      w.again();
    }
    EXPECT_LT(cpu_ms() - cpu, 15);
    EXPECT_EQ(got, std::string(10, 'a') + std::string(10, 'b') + std::string(10, 'c'));
    EXPECT_EQ(s.count(id).fired, 3u) << name_of(o);
    EXPECT_GT(delayed_ms(id), 50) << "what the second and the third were held back for";
    EXPECT_LE(delayed_ms(id), 60);
    s.clear();
  }
}

TEST_P(Slices, AreToldOfByEagainWhileTheNextOneIsNotDue) {
  if (how == way::blocking) GTEST_SKIP();
  tcp_pair p;
  s.set("slicer " + p.target() + " --average-size 2B --delay 40ms");
  waiter w(p.near, how);
  put(p.far, "abcd");
  ASSERT_TRUE(w.ready());
  char b[8];
  const double start = monotonic_ms();
  ASSERT_EQ(recv(p.near, b, 8, 0), 2);
  ASSERT_EQ(recv(p.near, b, 8, 0), -1);
  EXPECT_EQ(errno, EAGAIN);
  w.again();
  EXPECT_FALSE(w.ready(10));
  ASSERT_TRUE(w.ready());
  ASSERT_EQ(recv(p.near, b, 8, 0), 2);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 40));
}

TEST_P(Slices, AGapThatHoldsNobodyIsNotCounted) {
  tcp_pair p;
  const auto id = s.set("slicer " + p.target() + " --average-size 2B --delay 20ms");
  waiter w(p.near, how);
  char b[8];
  for (int i = 0; i < 2; ++i) {
    put(p.far, "ab");
    const double start = monotonic_ms();
    ASSERT_TRUE(w.ready());
    ASSERT_EQ(recv(p.near, b, 8, 0), 2);
    EXPECT_LT(monotonic_ms() - start, 10);
    w.again();
    const double over = monotonic_ms() + 30;
    wait_until([&] { return monotonic_ms() > over; });
  }
  EXPECT_EQ(s.count(id).fired, 2u);
  EXPECT_EQ(s.count(id).delayed_ns, 0u);
}

TEST_P(Slices, TheEndComesAfterTheGap) {
  tcp_pair p;
  s.set("slicer " + p.target() + " --average-size 2B --delay 30ms");
  waiter w(p.near, how);
  put(p.far, "ab");
  ASSERT_TRUE(w.ready());
  char b[8];
  const double start = monotonic_ms();
  ASSERT_EQ(recv(p.near, b, 8, 0), 2);
  p.far.reset();
  w.again();
  ASSERT_TRUE(w.ready());
  EXPECT_EQ(recv(p.near, b, 8, 0), 0);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 30));
}

TEST_P(Slices, AreWrittenApartByTheDelay) {
  for (const over o : {over::tcp, over::unix_stream}) {
    channel c(o);
    const auto id = s.set("slicer " + c.target + " --average-size 1KB --delay 30ms --direction up");
    const double start = monotonic_ms(), cpu = cpu_ms();
    EXPECT_TRUE(write_by(c.near, how, std::string(3000, 'x'))) << name_of(o);
    EXPECT_TRUE(on_time(monotonic_ms() - start, 60)) << name_of(o);
    EXPECT_LT(cpu_ms() - cpu, 15);
    EXPECT_EQ(c.hear(3000), std::string(3000, 'x'));
    EXPECT_EQ(s.count(id).fired, 3u);
    EXPECT_GT(delayed_ms(id), 50);
    EXPECT_LE(delayed_ms(id), 60);
    s.clear();
  }
}

using Slice = Gate;

TEST_F(Slice, ReceiveAndSendTimeoutsEndTheWaitInAGap) {
  tcp_pair p;
  const auto in = s.set("slicer " + p.target() + " --average-size 2B --delay 200ms");
  const auto out = s.set("slicer " + p.target() + " --average-size 2B --delay 200ms --direction up");
  const timeval soon{0, 20'000};
  setsockopt(p.near, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
  setsockopt(p.near, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
  put(p.far, "abcd");
  char b[8];
  ASSERT_EQ(recv(p.near, b, 8, 0), 2);
  const timed received = time_of([&] { return recv(p.near, b, 8, 0); });
  EXPECT_EQ(received.result, -1);
  EXPECT_EQ(received.error, EAGAIN);
  EXPECT_TRUE(on_time(received.ms, 20));
  ASSERT_EQ(send(p.near, "abcd", 4, MSG_NOSIGNAL), 2);
  const timed sent = time_of([&] { return send(p.near, "cd", 2, MSG_NOSIGNAL); });
  EXPECT_EQ(sent.result, -1);
  EXPECT_EQ(sent.error, EAGAIN);
  EXPECT_TRUE(on_time(sent.ms, 20));
  EXPECT_EQ(s.count(in).fired, 1u);
  EXPECT_EQ(s.count(out).fired, 1u);
}

}  // namespace
}  // namespace chaos::gate
