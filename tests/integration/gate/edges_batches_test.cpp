// recvmmsg and sendmmsg: each message of a batch meets the rules for itself.
#include "calls.hpp"
#include "channels.hpp"
#include "ways.hpp"

#include <vector>

namespace chaos::gate {
namespace {

struct batch {
  std::vector<std::string> text;
  std::vector<iovec> parts;
  std::vector<mmsghdr> messages;
  explicit batch(std::vector<std::string> of) : text(std::move(of)), parts(text.size()), messages(text.size()) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      parts[i] = {text[i].data(), text[i].size()};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
  }
  static batch room_for(std::size_t n) { return batch(std::vector<std::string>(n, std::string(16, 0))); }
  unsigned size() const { return static_cast<unsigned>(messages.size()); }
  std::string operator[](unsigned i) const { return text[i].substr(0, messages[i].msg_len); }
};

TEST_F(Calls, ABatchLosesSingleMessages) {
  udp_pair p;
  const auto in = s.set("loss " + p.target() + " 100% --when 2");
  for (const char* const t : {"a", "b", "c"}) put(p.far, t);
  batch got = batch::room_for(3);
  EXPECT_EQ(recvmmsg(p.near, got.messages.data(), 3, MSG_DONTWAIT, nullptr), 2);
  EXPECT_EQ(got[0], "a");
  EXPECT_EQ(got[1], "c");
  EXPECT_EQ(s.count(in).fired, 1u);
  EXPECT_EQ(s.count(in).matched, 3u);
  s.clear();
  const auto out = s.set("loss " + p.target() + " 100% --when 2 --direction up");
  batch sent({"d", "ee", "f"});
  EXPECT_EQ(sendmmsg(p.near, sent.messages.data(), 3, 0), 3) << "as far as the sender knows";
  EXPECT_EQ(sent.messages[1].msg_len, 2u);
  char b[8];
  EXPECT_EQ(recv(p.far, b, 8, 0), 1);
  EXPECT_EQ(b[0], 'd');
  EXPECT_EQ(recv(p.far, b, 8, 0), 1);
  EXPECT_EQ(b[0], 'f');
  EXPECT_EQ(recv(p.far, b, 8, MSG_DONTWAIT), -1);
  EXPECT_EQ(s.count(out).fired, 1u);
  EXPECT_EQ(s.count(out).matched, 3u);
}

TEST_F(Calls, AnErrorInABatchEndsItWithWhatWentBefore) {
  udp_pair p;
  const auto in = s.set("error " + p.target() + " ECONNREFUSED --on recvmmsg --when 3");
  for (const char* const t : {"a", "b", "c", "d"}) put(p.far, t);
  batch got = batch::room_for(4);
  EXPECT_EQ(recvmmsg(p.near, got.messages.data(), 4, MSG_DONTWAIT, nullptr), 2);
  EXPECT_EQ(s.count(in).fired, 1u);
  EXPECT_EQ(recvmmsg(p.near, got.messages.data(), 4, MSG_DONTWAIT, nullptr), 2) << "what could not be received is still there";
  EXPECT_EQ(got[0], "c");
  s.clear();
  const auto out = s.set("error " + p.target() + " ECONNREFUSED --on sendmmsg --when 1+2");
  batch sent({"d", "e", "f"});
  EXPECT_EQ(sendmmsg(p.near, sent.messages.data(), 3, 0), -1) << "the first one fails";
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(sendmmsg(p.near, sent.messages.data(), 3, 0), 1) << "the second one of these";
  EXPECT_EQ(s.count(out).fired, 2u);
}

TEST_F(Calls, LatencyHoldsABatchAndCorruptionHitsEachMessageForItself) {
  udp_pair p;
  const auto late = delay(p.target(), 30);
  const auto bad = s.set("corrupt " + p.target() + " --bits 1");
  const double start = monotonic_ms();
  for (int i = 0; i < 3; ++i) put(p.far, "xxxx");
  batch got = batch::room_for(3);
  EXPECT_EQ(recvmmsg(p.near, got.messages.data(), 3, MSG_DONTWAIT, nullptr), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(recvmmsg(p.near, got.messages.data(), 3, MSG_WAITFORONE, nullptr), 3);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 30));
  for (unsigned i = 0; i < 3; ++i) {
    int flipped = 0;
    for (const char c : got[i]) flipped += __builtin_popcount(static_cast<unsigned char>(c ^ 'x'));
    EXPECT_EQ(flipped, 1) << i;
  }
  EXPECT_EQ(s.count(late).fired, 3u);
  EXPECT_EQ(s.count(bad).fired, 3u);
  EXPECT_EQ(s.count(bad).bytes, 12u);
}

TEST_F(Calls, ABatchTimeoutIsKept) {
  udp_pair p;
  delay(p.target(), 10);
  put(p.far, "a");
  std::thread late = after(40, [&] { put(p.far, "b"); });
  batch got = batch::room_for(3);
  timespec soon{0, 20'000'000};
  const timed t = time_of([&] { return recvmmsg(p.near, got.messages.data(), 3, 0, &soon); });
  late.join();
  EXPECT_EQ(t.result, 2) << "looked at after each message, as the kernel does";
  EXPECT_TRUE(on_time(t.ms, 50));
}

}  // namespace
}  // namespace chaos::gate
