// Flags, options and calls with a meaning of their own: each keeps it under faults.
#include "channels.hpp"
#include "ways.hpp"

#include <linux/errqueue.h>

#include <csignal>
#include <vector>

namespace chaos::gate {
namespace {

using Calls = Gate;

void own_threshold(int fd, int n) { ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &n, sizeof n), 0); }
void own_timeout(int fd, int option, int ms) {
  const timeval t{ms / 1000, ms % 1000 * 1000};
  ASSERT_EQ(setsockopt(fd, SOL_SOCKET, option, &t, sizeof t), 0);
}
std::thread after(int ms, std::function<void()> what) {
  return std::thread([ms, what] {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    what();
  });
}

// --- MSG_WAITALL

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

// --- recvmmsg, sendmmsg

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

// --- descriptors that came by another way

struct carrier {
  unique_fd from, to;
  char c = 'x';
  iovec v{&c, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m{};
  carrier() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    from = ends[0];
    to = ends[1];
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
  }
  void load(int fd) {
    cmsghdr* h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(h), &fd, sizeof fd);
    EXPECT_EQ(sendmsg(from, &m, 0), 1);
  }
  unique_fd unload(bool in_a_row = false) {
    std::memset(control, 0, sizeof control);
    if (in_a_row) {
      mmsghdr row{m, 0};
      EXPECT_EQ(recvmmsg(to, &row, 1, MSG_CMSG_CLOEXEC, nullptr), 1);
    } else {
      EXPECT_EQ(recvmsg(to, &m, MSG_CMSG_CLOEXEC), 1);
    }
    int got = -1;
    std::memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
    return got;
  }
};

class Passed : public Gate, public testing::WithParamInterface<way> {};
INSTANTIATE_TEST_SUITE_P(By, Passed, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

TEST_P(Passed, DescriptorsAreDelayedLikeTheOnesTheyCameFrom) {
  const std::pair<const char*, std::function<unique_fd(int)>> roads[] = {
      {"SCM_RIGHTS", [](int fd) { carrier by; by.load(fd); return by.unload(); }},
      {"dup", [](int fd) -> unique_fd { return dup(fd); }},
      {"fcntl", [](int fd) -> unique_fd { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }},
  };
  for (const auto& [name, road] : roads) {
    tcp_pair p;
    const auto id = delay(p.target(), 25);
    const unique_fd passed = road(p.near);
    ASSERT_GE(passed, 0);
    p.near.reset();
    const double start = monotonic_ms();
    put(p.far, "hello");
    EXPECT_EQ(read_by(passed, GetParam(), 5), "hello") << name;
    EXPECT_TRUE(on_time(monotonic_ms() - start, 25)) << name;
    EXPECT_EQ(s.count(id).fired, 1u) << name;
    s.clear();
  }
}

TEST_F(Calls, ANumberThatAPassedDescriptorTakesOverIsLookedAtAnew) {
  for (const bool in_a_row : {false, true})
    for (const bool watched : {false, true}) {  // the socket that it comes over is one that a rule is about
      SCOPED_TRACE(std::string(in_a_row ? "recvmmsg" : "recvmsg") + (watched ? ", watched" : ""));
      tcp_pair p, other;
      carrier by;
      const auto id = delay(p.target(), 25);
      const auto seen = s.set("observe " + other.target());
      const auto road = watched ? s.set("observe fd:" + std::to_string(by.to)) : 0;
      by.load(p.near);
      const int number = dup(other.near);
      put(other.far, "x");
      char b[8];
      ASSERT_EQ(recv(number, b, 8, 0), 1);
      syscall(SYS_close, number);  // past the hooks, as libc closes inside itself
      const unique_fd passed = by.unload(in_a_row);
      ASSERT_EQ(passed.operator int(), number);
      const double start = monotonic_ms();
      put(p.far, "hello");
      EXPECT_EQ(recv(passed, b, 8, 0), 5);
      EXPECT_TRUE(on_time(monotonic_ms() - start, 25));
      EXPECT_EQ(s.count(id).fired, 1u);
      EXPECT_EQ(s.count(seen).matched, 1u);
      if (watched) { EXPECT_EQ(s.count(road).fired, 1u); }
      s.clear();
    }
}

TEST_P(Passed, WhatAForkedChildReadsKeepsItsDueTime) {
  tcp_pair p;
  delay(p.target(), 40);
  const double start = monotonic_ms();
  put(p.far, "hello");
  pollfd one{p.near, POLLIN, 0};
  ASSERT_EQ(poll(&one, 1, 5), 0);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const unique_fd out(ends[0]), in(ends[1]);
  if (fork() == 0) {
    const bool good = read_by(p.near, GetParam(), 5) == "hello" && on_time(monotonic_ms() - start, 40);
    (void)!write(in, good ? "y" : "n", 1);
    _exit(0);
  }
  char c = 0;
  ASSERT_EQ(read(out, &c, 1), 1);
  EXPECT_EQ(c, 'y');
}

// --- select

// libevent's sets are as long as the highest descriptor needs. What stands behind them is another's.
TEST_F(Calls, SelectTouchesNoMoreOfASetThanItIsToldOf) {
  tcp_pair p;
  set_nonblocking(p.near);
  const auto id = delay(p.target(), 20);
  put(p.far, "x");
  const std::size_t words = static_cast<std::size_t>(p.near) / NFDBITS + 1;
  std::vector<fd_mask> room(3 * 2 * words, -1);
  fd_mask* const sets[3] = {room.data(), room.data() + 2 * words, room.data() + 4 * words};
  for (int round = 0; round < 2; ++round) {  // until the time is up; and until it is due
    for (fd_mask* set : sets) std::fill_n(set, words, 0);
    sets[0][words - 1] = fd_mask{1} << (p.near % NFDBITS);
    timeval t{round * 5, 1000};
    const auto as_set = [&](int i) { return reinterpret_cast<fd_set*>(sets[i]); };
    EXPECT_EQ(select(p.near + 1, as_set(0), as_set(1), as_set(2), &t), round);
    for (int i = 0; i < 3; ++i)
      for (std::size_t w = 0; w < words; ++w) {
        EXPECT_EQ(sets[i][w], round && i == 0 && w == words - 1 ? fd_mask{1} << (p.near % NFDBITS) : 0);
        EXPECT_EQ(sets[i][words + w], -1) << "set " << i;
      }
  }
  EXPECT_EQ(s.count(id).fired, 1u);
}

extern "C" void nothing_at_all(int) {}

TEST_F(Calls, SelectTellsWhatWasLeftWhenASignalCame) {
  tcp_pair p;
  delay(p.target(), 10'000);
  put(p.far, "x");
  struct sigaction a{};
  a.sa_handler = nothing_at_all;
  sigaction(SIGUSR1, &a, nullptr);
  const pthread_t self = pthread_self();
  std::thread signals = after(50, [&] { pthread_kill(self, SIGUSR1); });
  fd_set in;
  FD_ZERO(&in);
  FD_SET(p.near, &in);
  timeval t{5, 0};
  EXPECT_EQ(select(p.near + 1, &in, nullptr, nullptr, &t), -1);
  EXPECT_EQ(errno, EINTR);
  EXPECT_LT(t.tv_sec, 5);
  EXPECT_GE(t.tv_sec, 3);
  signals.join();
  signal(SIGUSR1, SIG_DFL);
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
