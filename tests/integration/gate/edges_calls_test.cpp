// Flags, options and calls with a meaning of their own: each keeps it under faults.
#include "calls.hpp"
#include "channels.hpp"
#include "ways.hpp"

#include <linux/errqueue.h>
#include <csignal>
#include <vector>

namespace chaos::gate {
namespace {

// --- MSG_TRUNC, MSG_DONTWAIT, MSG_PEEK

TEST_F(Calls, TruncTellsTheSizeOfADatagramUnderEveryKind) {
  for (const char* const rule : {"latency {} 10ms", "corrupt {} --bits 3", "bandwidth {} 100KB/s"}) {
    udp_pair p;
    std::string words = rule;
    const auto id = s.set(words.replace(words.find("{}"), 2, p.target()));
    put(p.far, std::string(100, 'x'));
    char b[40];
    std::memset(b, '-', sizeof b);
    EXPECT_EQ(recv(p.near, b, 10, MSG_PEEK | MSG_TRUNC), 100) << rule;
    EXPECT_EQ(recv(p.near, b, 10, MSG_TRUNC), 100) << rule;
    EXPECT_EQ(std::string(b + 10, 30), std::string(30, '-')) << rule << ": nothing behind the buffer is touched";
    EXPECT_GE(s.count(id).fired, 1u) << rule;
    s.clear();
  }
}

TEST_F(Calls, TruncThrowsStreamBytesAwayUnderEveryKind) {
  for (const char* const rule : {"latency {} 10ms", "corrupt {} --bits 3", "slicer {} --average-size 3B"}) {
    tcp_pair p;
    std::string words = rule;
    const auto id = s.set(words.replace(words.find("{}"), 2, p.target()));
    put(p.far, "0123456789");
    std::size_t gone = 0;
    while (gone < 6) {
      const ssize_t n = recv(p.near, nullptr, 6 - gone, MSG_TRUNC);
      ASSERT_GT(n, 0) << rule;
      gone += static_cast<std::size_t>(n);
    }
    s.remove(id);
    char b[8] = {};
    EXPECT_EQ(recv(p.near, b, 8, 0), 4) << rule;
    EXPECT_STREQ(b, "6789") << rule;
    s.clear();
  }
}

TEST_F(Calls, DontwaitDoesNotWaitOnABlockingSocket) {
  for (const char* const rule : {"latency {} 30ms", "slicer {} --average-size 2B --delay 30ms", "bandwidth {} 100B/s"}) {
    tcp_pair p;
    std::string words = rule;
    s.set(words.replace(words.find("{}"), 2, p.target()));
    put(p.far, "hello");
    char b[8];
    if (words.starts_with("slicer")) { EXPECT_EQ(recv(p.near, b, 8, MSG_DONTWAIT), 2); }
    const timed t = time_of([&] { return recv(p.near, b, 8, MSG_DONTWAIT); });
    EXPECT_EQ(t.result, -1) << rule;
    EXPECT_EQ(t.error, EAGAIN) << rule;
    EXPECT_LT(t.ms, 10) << rule;
    s.clear();
  }
}

TEST_F(Calls, OutOfBandDataAndErrorQueuesAreNotWaitedFor) {
  tcp_pair p;
  const auto id = delay(p.target(), 30);
  char c = 0;
  iovec v{&c, 1};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  const timed errors = time_of([&] { return recvmsg(p.near, &m, MSG_ERRQUEUE); });
  EXPECT_EQ(errors.result, -1);
  EXPECT_EQ(errors.error, EAGAIN);
  EXPECT_LT(errors.ms, 10);
  const timed urgent = time_of([&] { return recv(p.near, &c, 1, MSG_OOB); });
  EXPECT_EQ(urgent.result, -1);
  EXPECT_EQ(urgent.error, EINVAL) << "there is none";
  EXPECT_LT(urgent.ms, 10);
  EXPECT_EQ(s.count(id).fired, 0u);
}

// --- time-outs of the program's own

TEST_F(Calls, AReceiveTimeoutHoldsUnderEveryDelay) {
  for (const char* const rule : {"latency {} 500ms", "bandwidth {} 1B/s", "partition {}", "timeout {} 500ms"}) {
    tcp_pair p;
    std::string words = rule;
    s.set(words.replace(words.find("{}"), 2, p.target()));
    own_timeout(p.near, SO_RCVTIMEO, 20);
    put(p.far, "hello");
    char b[8];
    const timed t = time_of([&] { return recv(p.near, b, 8, 0); });
    EXPECT_EQ(t.result, -1) << rule;
    EXPECT_EQ(t.error, EAGAIN) << rule;
    EXPECT_TRUE(on_time(t.ms, 20)) << rule;
    s.clear();
  }
}

TEST_F(Calls, ASendTimeoutHoldsUnderEveryDelayAndNothingIsSent) {
  for (const char* const rule : {"latency {} 300ms --direction up", "bandwidth {} 10B/s --direction up", "partition {}"}) {
    for (const over o : {over::tcp, over::udp}) {
      if (o == over::udp && std::string(rule).starts_with("partition")) continue;  // gone at once
      channel c(o);
      std::string words = rule;
      s.set(words.replace(words.find("{}"), 2, c.target));
      own_timeout(c.near, SO_SNDTIMEO, 20);
      const timed t = time_of([&] { return send(c.near, "hello", 5, MSG_NOSIGNAL); });
      EXPECT_EQ(t.result, -1) << rule;
      EXPECT_EQ(t.error, EAGAIN) << rule;
      EXPECT_TRUE(on_time(t.ms, 20)) << rule;
      s.clear();
      EXPECT_EQ(send(c.near, "after", 5, MSG_NOSIGNAL), 5);
      EXPECT_EQ(c.hear(5), "after") << rule;
    }
  }
}

// --- SO_RCVLOWAT of the program's own

class Threshold : public Gate, public testing::WithParamInterface<way> {};
INSTANTIATE_TEST_SUITE_P(By, Threshold, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

TEST_P(Threshold, OfTheProgramsOwnCountsWhatIsDue) {
  for (const char* const rule : {"latency {} 30ms", "slicer {} --average-size 2B", "bandwidth {} 500B/s"}) {
    tcp_pair p;
    own_threshold(p.near, 6);
    std::string words = rule;
    const auto id = s.set(words.replace(words.find("{}"), 2, p.target()));
    waiter w(p.near, GetParam());
    // A kernel's receive that has begun on too little is not woken by the rest, whoever else is there: nothing to test with.
    const bool at_once = words.starts_with("slicer");
    put(p.far, at_once ? "abcdef" : "abc");
    std::thread late = after(15, [&] { if (!at_once) put(p.far, "def"); });
    char b[16];
    EXPECT_TRUE(w.ready());
    EXPECT_EQ(recv(p.near, b, sizeof b, 0), 6) << rule << ": not less than it asked for";
    late.join();
    EXPECT_EQ(std::string(b, 6), "abcdef");
    EXPECT_GE(s.count(id).fired, 1u);
    int now = 0;
    socklen_t n = sizeof now;
    ASSERT_EQ(getsockopt(p.near, SOL_SOCKET, SO_RCVLOWAT, &now, &n), 0);
    EXPECT_EQ(now, 6);
    s.clear();
  }
}

// --- ancillary data

TEST_F(Calls, AncillaryDataOfUnixSocketsIsUntouched) {
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    temporary_folder folder;
    unix_pair p(folder.path(), type);
    const int on = 1;
    ASSERT_EQ(setsockopt(p.near, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    const auto late = s.set("latency " + p.target() + " 20ms"), bad = s.set("corrupt " + p.target() + " --bits 1 --direction both");
    tcp_pair carried;
    char text[] = "hello";
    iovec v{text, 5};
    alignas(cmsghdr) char control[256] = {};
    msghdr m{};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = CMSG_SPACE(sizeof(int));
    cmsghdr* h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = carried.near;
    std::memcpy(CMSG_DATA(h), &fd, sizeof fd);
    const double start = monotonic_ms();
    ASSERT_EQ(syscall(SYS_sendmsg, p.far.operator int(), &m, 0), 5);
    m.msg_controllen = sizeof control;
    std::memset(control, 0, sizeof control);
    ASSERT_EQ(recvmsg(p.near, &m, 0), 5);
    EXPECT_TRUE(on_time(monotonic_ms() - start, 20));
    int flipped = 0;
    for (int i = 0; i < 5; ++i) flipped += __builtin_popcount(static_cast<unsigned char>(text[i] ^ "hello"[i]));
    EXPECT_EQ(flipped, 1);
    EXPECT_EQ(s.count(late).fired, 1u);
    EXPECT_EQ(s.count(bad).fired, 1u);
    bool rights = false, credentials = false;
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
      if (c->cmsg_type == SCM_RIGHTS) {
        int got;
        std::memcpy(&got, CMSG_DATA(c), sizeof got);
        unique_fd passed = got;
        put(passed, "over it");
        rights = read_by(carried.far, way::blocking, 7) == "over it";
      } else if (c->cmsg_type == SCM_CREDENTIALS) {
        ucred who;
        std::memcpy(&who, CMSG_DATA(c), sizeof who);
        credentials = who.pid == getpid() && who.uid == getuid();
      }
    }
    EXPECT_TRUE(rights) << type;
    EXPECT_TRUE(credentials) << type;
    // And on the way out, where a corrupted message is a copy.
    m.msg_controllen = CMSG_SPACE(sizeof(int));
    h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(h), &fd, sizeof fd);
    ASSERT_EQ(sendmsg(p.near, &m, 0), 5);
    m.msg_controllen = sizeof control;
    ASSERT_EQ(syscall(SYS_recvmsg, p.far.operator int(), &m, 0), 5);
    h = CMSG_FIRSTHDR(&m);
    ASSERT_NE(h, nullptr);
    EXPECT_EQ(h->cmsg_type, SCM_RIGHTS);
    int got;
    std::memcpy(&got, CMSG_DATA(h), sizeof got);
    close(got);
    EXPECT_EQ(s.count(bad).fired, 2u);
    s.clear();
  }
}

}  // namespace
}  // namespace chaos::gate
