// MSG_WAITALL: the call collects what comes in pieces, and ends early where the kernel would end it.
#include "calls.hpp"
#include "channels.hpp"
#include "ways.hpp"

#include <csignal>
#include <vector>

namespace chaos::gate {
namespace {

struct waitall_call {
  const char* name;
  long (*call)(int fd, char* b, std::size_t n);
};
const waitall_call waitall_calls[] = {
    {"recv", [](int fd, char* b, std::size_t n) -> long { return recv(fd, b, n, MSG_WAITALL); }},
    {"peek", [](int fd, char* b, std::size_t n) -> long { return recv(fd, b, n, MSG_WAITALL | MSG_PEEK); }},
    {"recvmsg", [](int fd, char* b, std::size_t n) -> long {
       iovec v[2] = {{b, 2}, {b + 2, n - 2}};
       msghdr m{};
       m.msg_iov = v;
       m.msg_iovlen = 2;
       return recvmsg(fd, &m, MSG_WAITALL);
     }},
};

TEST_F(Calls, WaitallWaitsForWhatIsNotDueAndForWhatHasNotCome) {
  for (const auto& [name, call] : waitall_calls) {
    tcp_pair p;
    const auto id = delay(p.target(), 20);
    const double start = monotonic_ms();
    put(p.far, "hel");
    std::thread late = after(50, [&] { put(p.far, "lo"); });  // long after the first part is due
    char b[6] = {};
    EXPECT_EQ(call(p.near, b, 5), 5) << name;
    late.join();
    EXPECT_TRUE(on_time(monotonic_ms() - start, 70)) << name;
    EXPECT_STREQ(b, "hello") << name;
    EXPECT_EQ(s.count(id).fired, 2u) << name;
    s.clear();
  }
}

TEST_F(Calls, WaitallEndsWithTheStreamTheTimeoutAndASignal) {
  for (const auto& [name, call] : waitall_calls) {
    char b[8];
    {
      tcp_pair p;
      delay(p.target(), 20);
      put(p.far, "abc");
      p.far.reset();
      EXPECT_EQ(call(p.near, b, 5), 3) << name;
    }
    {
      tcp_pair p;
      delay(p.target(), 10);
      own_timeout(p.near, SO_RCVTIMEO, 40);
      put(p.far, "abc");
      const timed t = time_of([&] { return call(p.near, b, 5); });
      EXPECT_EQ(t.result, 3) << name << ": what has come by then";
      EXPECT_TRUE(on_time(t.ms, 40)) << name;
    }
    s.clear();
  }
}

TEST_F(Calls, WaitallCollectsSlicesAndBandwidth) {
  for (const char* const rule : {"slicer {} --average-size 7B", "slicer {} --average-size 7B --delay 2ms", "bandwidth {} 5KB/s"}) {
    tcp_pair p;
    std::string words = rule;
    const auto id = s.set(words.replace(words.find("{}"), 2, p.target()));
    const std::string sent = "the quick brown fox jumps over the lazy dog, and on it goes";
    put(p.far, sent);
    std::string got(sent.size(), 0);
    EXPECT_EQ(recv(p.near, got.data(), got.size(), MSG_WAITALL), static_cast<ssize_t>(sent.size())) << rule;
    EXPECT_EQ(got, sent);
    EXPECT_GE(s.count(id).fired, 1u);
    s.clear();
  }
}

// A message in more vectors than are looked at together, each of `part` bytes.
struct many_vectors {
  std::string room;
  std::vector<iovec> parts;
  msghdr m{};
  many_vectors(std::size_t n, std::size_t part) : room(n * part, '-'), parts(n) {
    for (std::size_t i = 0; i < n; ++i) parts[i] = {room.data() + i * part, part};
    m.msg_iov = parts.data();
    m.msg_iovlen = n;
  }
};

TEST_F(Calls, MessagesOfAStreamAreCountedEachWhenTheTriggerSaysNoToo) {
  tcp_pair p;
  const auto id = s.set("error " + p.target() + " EPIPE --on send,sendmmsg --probability 0");
  for (int i = 0; i < 2; ++i) ASSERT_EQ(send(p.near, "x", 1, 0), 1);  // the rule is known from its second match on
  char text[] = "hello";
  iovec part{text, 5};
  mmsghdr three[3] = {};
  for (mmsghdr& m : three) m.msg_hdr.msg_iov = &part, m.msg_hdr.msg_iovlen = 1;
  ASSERT_EQ(sendmmsg(p.near, three, 3, 0), 3);
  EXPECT_EQ(s.count(id).matched, 5u);
  EXPECT_EQ(s.count(id).bytes, 17u);
  EXPECT_EQ(s.count(id).fired, 0u);
}

TEST_F(Calls, WaitallFillsEveryVectorOfAMessage) {
  const std::string sent = "the quick brown fox jumps over the lazy dog, and then goes on";
  struct { const char* rule; unsigned fired; } rules[] = {{"slicer {} --average-size 7B", 8}, {"slicer {} --average-size 7B --delay 2ms", 9},
                                                          {"bandwidth {} 5KB/s", 1}, {"latency {} 10ms", 1}, {"corrupt {} --bits 1", 1}};
  ASSERT_EQ(sent.size(), 61u);
  for (const auto& [rule, fired] : rules) {
    tcp_pair p;
    std::string words = rule;
    const auto id = s.set(words.replace(words.find("{}"), 2, p.target()));
    put(p.far, sent);
    many_vectors got(20, 3);
    EXPECT_EQ(recvmsg(p.near, &got.m, MSG_WAITALL), 60) << rule;
    EXPECT_EQ(got.room == sent.substr(0, 60), !words.starts_with("corrupt")) << rule << " " << got.room;
    EXPECT_EQ(got.m.msg_iovlen, 20u);
    EXPECT_EQ(got.m.msg_iov, got.parts.data()) << "the program's own header is as it was";
    EXPECT_GE(s.count(id).fired, fired) << rule;
    if (words.starts_with("slicer")) { EXPECT_EQ(s.count(id).fired, fired); }
    char last = 0;
    EXPECT_EQ(recv(p.near, &last, 1, 0), 1);
    s.clear();
  }
}

TEST_F(Calls, WaitallInPiecesEndsWithTheStreamTheTimeoutAndASignal) {
  struct sigaction quiet{}, before{};
  quiet.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &quiet, &before), 0);
  for (const auto& [name, call] : waitall_calls) {
    if (name == std::string("peek")) continue;
    char b[9] = {};
    const auto sliced = [&](tcp_pair& p) { return s.set("slicer " + p.target() + " --average-size 2B"); };
    {
      tcp_pair p;
      const auto id = sliced(p);
      put(p.far, "abcde");
      p.far.reset();
      EXPECT_EQ(call(p.near, b, 8), 5) << name;
      EXPECT_EQ(s.count(id).fired, 2u) << name << ": of the rest nothing was cut";
    }
    {
      tcp_pair p;
      sliced(p);
      own_timeout(p.near, SO_RCVTIMEO, 40);
      put(p.far, "abc");
      const timed t = time_of([&] { return call(p.near, b, 8); });
      EXPECT_EQ(t.result, 3) << name;
      EXPECT_TRUE(on_time(t.ms, 40)) << name << ": one time-out, not one a piece";
    }
    {
      tcp_pair p;
      sliced(p);
      put(p.far, "abc");
      const pthread_t self = pthread_self();
      std::thread signals = after(30, [&] { pthread_kill(self, SIGUSR1); });
      EXPECT_EQ(call(p.near, b, 8), 3) << name << ": what came before the signal";
      signals.join();
    }
    s.clear();
  }
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(Calls, WaitallInPiecesGoesOnWhenTheRuleGoes) {
  for (const auto& [name, call] : waitall_calls) {
    if (name == std::string("peek")) continue;
    tcp_pair p;
    const auto id = s.set("slicer " + p.target() + " --average-size 2B");
    put(p.far, "abc");
    std::thread later([&] {
      EXPECT_TRUE(wait_until([&] { return s.count(id).matched >= 2; }));
      s.clear();
      put(p.far, "defgh");
    });
    char b[9] = {};
    EXPECT_EQ(call(p.near, b, 8), 8) << name;
    EXPECT_STREQ(b, "abcdefgh") << name;
    later.join();
  }
}

TEST_F(Calls, WaitallInPiecesKeepsAncillaryData) {
  temporary_folder folder;
  unix_pair p(folder.path(), SOCK_STREAM);
  const int on = 1;
  ASSERT_EQ(setsockopt(p.near, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
  const auto id = s.set("slicer " + p.target() + " --average-size 2B");
  alignas(cmsghdr) char control[256];
  const auto receive = [&](std::size_t n, bool& rights, bool& credentials) {
    many_vectors got(n, 1);
    std::memset(control, 0, sizeof control);
    got.m.msg_control = control;
    got.m.msg_controllen = sizeof control;
    const ssize_t r = recvmsg(p.near, &got.m, MSG_WAITALL);
    EXPECT_FALSE(got.m.msg_flags & MSG_CTRUNC);
    rights = credentials = false;
    for (cmsghdr* c = CMSG_FIRSTHDR(&got.m); c; c = CMSG_NXTHDR(&got.m, c)) {
      credentials |= c->cmsg_type == SCM_CREDENTIALS;
      if (c->cmsg_type != SCM_RIGHTS) continue;
      int passed;
      std::memcpy(&passed, CMSG_DATA(c), sizeof passed);
      rights = close(passed) == 0;
    }
    return got.room.substr(0, r > 0 ? static_cast<std::size_t>(r) : 0);
  };
  bool rights, credentials;
  put(p.far, "hello");
  EXPECT_EQ(receive(5, rights, credentials), "hello");
  EXPECT_TRUE(credentials);
  EXPECT_EQ(s.count(id).fired, 2u);
  // Descriptors end a receive, wherever they come.
  put(p.far, "abc");
  char text[] = "de";
  iovec v{text, 2};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  std::memset(control, 0, sizeof control);
  m.msg_control = control;
  m.msg_controllen = CMSG_SPACE(sizeof(int));
  cmsghdr* h = CMSG_FIRSTHDR(&m);
  h->cmsg_level = SOL_SOCKET;
  h->cmsg_type = SCM_RIGHTS;
  h->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = p.far;
  std::memcpy(CMSG_DATA(h), &fd, sizeof fd);
  ASSERT_EQ(syscall(SYS_sendmsg, p.far.operator int(), &m, 0), 2);
  EXPECT_EQ(receive(8, rights, credentials), "abcd");
  EXPECT_TRUE(rights);
  EXPECT_TRUE(credentials);
}

}  // namespace
}  // namespace chaos::gate
