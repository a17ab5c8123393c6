// Promise 3: without corrupt, late errors and closing kinds, the byte sequence that one side reads is the byte sequence that
// the other wrote. Random rules, chunkings and ways to read, each case from its own number.
#include "channels.hpp"
#include "ways.hpp"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "preload/core/prng.hpp"

namespace chaos::gate {
namespace {

using core::draws;

enum class reader { blocking, waitall, poll, select, epoll_level, epoll_edge, epoll_oneshot, count };

std::string rule_of(draws& d, const std::string& target) {
  const auto n = [&](std::uint64_t most) { return std::to_string(1 + d.below(most)); };
  switch (d.below(12)) {
    case 0: return "latency " + target + " " + n(3) + "ms --jitter 1ms";
    case 1: return "latency " + target + " " + n(3) + "ms --probability 0.3 --direction both";
    case 2: return "slicer " + target + " --average-size " + n(200) + "B --direction both";
    case 3: return "slicer " + target + " --average-size " + n(2000) + "B --delay 100us";
    case 4: return "bandwidth " + target + " " + n(20) + "MB/s";
    case 5: return "bandwidth " + target + " " + n(20) + "MB/s --direction up";
    case 6: return "loss " + target + " 0.2% --times 1";
    case 7: return "error " + target + " EINTR --on recv --probability 0.2";
    case 8: return "error " + target + " EAGAIN --on recv --probability 0.2 --force";
    case 9: return "pause " + target + " " + n(200) + "us --probability 0.2";
    case 10: return "http_error " + target + " 503";  // these bytes are not HTTP
    default: return "observe " + target;
  }
}

// The same for what leaves.
std::string rule_upstream(draws& d, const std::string& target) {
  const auto n = [&](std::uint64_t most) { return std::to_string(1 + d.below(most)); };
  switch (d.below(9)) {
    case 0: return "latency " + target + " " + n(300) + "us --direction up --probability 0.3";
    case 1: return "slicer " + target + " --average-size 1" + n(99) + "B --direction up";
    case 2: return "slicer " + target + " --average-size 1" + n(99) + "B --delay 100us --direction up";
    case 3: return "bandwidth " + target + " " + n(20) + "MB/s --direction up";
    case 4: return "error " + target + " EINTR --on send --probability 0.2";
    case 5: return "error " + target + " EAGAIN --on send --probability 0.2 --force";
    case 6: return "pause " + target + " " + n(200) + "us --on send --probability 0.2";
    case 7: return "http_error " + target + " 503";
    default: return "observe " + target;
  }
}

// Cuts the connection off for a moment, now and then; what was held comes afterwards.
std::thread cut_off_for_a_moment(session& s, const std::string& rule, std::uint64_t us) {
  return std::thread([&s, rule, us] {
    const auto id = s.set(rule);
    std::this_thread::sleep_for(std::chrono::microseconds(us));
    s.remove(id);
  });
}

// What a byte at this place of the stream is.
char byte_at(std::uint64_t key, std::size_t at) { return static_cast<char>(core::mix(key, at)); }

// By the peer, past the hooks: a unix socket has the same path at both ends.
bool write_all(int fd, std::uint64_t key, std::size_t from, std::size_t n) {
  std::string text(n, 0);
  for (std::size_t i = 0; i < n; ++i) text[i] = byte_at(key, from + i);
  for (std::size_t done = 0; done < n;) {
    const long w = syscall(SYS_sendto, fd, text.data() + done, n - done, MSG_NOSIGNAL, nullptr, 0);
    if (w <= 0) return false;
    done += static_cast<std::size_t>(w);
  }
  return true;
}

struct input {
  int fd;
  reader how;
  unique_fd set{epoll_create1(0)};
  std::size_t got = 0;
  input(int f, reader h) : fd(f), how(h) {
    if (how != reader::blocking && how != reader::waitall) set_nonblocking(fd);
    epoll_event e = wish();
    if (h >= reader::epoll_level) epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
  }
  epoll_event wish() const {
    epoll_event e{};
    e.events = EPOLLIN | (how == reader::epoll_edge ? static_cast<std::uint32_t>(EPOLLET) : 0) | (how == reader::epoll_oneshot ? static_cast<std::uint32_t>(EPOLLONESHOT) : 0);
    e.data.fd = fd;
    return e;
  }
  bool ready() {
    switch (how) {
      case reader::poll: { pollfd p{fd, POLLIN, 0}; return ::poll(&p, 1, 3000) == 1; }
      case reader::select: { fd_set in; FD_ZERO(&in); FD_SET(fd, &in); timeval t{3, 0}; return ::select(fd + 1, &in, nullptr, nullptr, &t) == 1; }
      case reader::epoll_level: case reader::epoll_edge: case reader::epoll_oneshot: { epoll_event e; return epoll_wait(set, &e, 1, 3000) == 1; }
      default: return true;
    }
  }
  // False at the end of the stream; `problem` says what was wrong.
  bool read_some(std::uint64_t key, draws& d, std::string& problem) {
    if (!ready()) { problem = "never ready again"; return false; }
    do {
      char b[4096];
      const std::size_t room = 1 + d.below(sizeof b);
      const bool peek = how != reader::epoll_edge && d.below(8) == 0;
      const ssize_t n = recv(fd, b, room, peek ? MSG_PEEK : how == reader::waitall ? MSG_WAITALL : 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n <= 0) { if (n < 0) problem = std::string("recv: ") + strerrorname_np(errno); return false; }
      for (ssize_t i = 0; i < n; ++i)
        if (b[i] != byte_at(key, got + static_cast<std::size_t>(i))) { problem = "byte " + std::to_string(got + static_cast<std::size_t>(i)) + " is another"; return false; }
      if (!peek) got += static_cast<std::size_t>(n);
    } while (how == reader::epoll_edge);  // an edge reader reads until EAGAIN
    if (how == reader::epoll_oneshot) { epoll_event e = wish(); epoll_ctl(set, EPOLL_CTL_MOD, fd, &e); }
    return true;
  }
};

class Stream : public Gate, public testing::WithParamInterface<int> {};
std::string name_of(const testing::TestParamInfo<int>& info) {
  const char* const names[] = {"Blocking", "Waitall", "Poll", "Select", "EpollLevel", "EpollEdge", "EpollOneshot"};
  return names[info.param];
}
INSTANTIATE_TEST_SUITE_P(Read, Stream, testing::Range(0, static_cast<int>(reader::count)), name_of);

TEST_P(Stream, IsTheSequenceThatWasWritten) {
  const char* const more = std::getenv("CHAOS_STREAM_CASES");
  const std::uint64_t cases = more ? std::strtoull(more, nullptr, 10) : 300;
  std::uint64_t fired = 0;
  for (std::uint64_t number = 0; number < cases; ++number) {
    draws d({1000u + static_cast<unsigned>(GetParam())}, number), reading({2000}, number);
    channel p(d.below(3) == 0 ? over::unix_stream : over::tcp);
    std::vector<std::uint32_t> ids;
    std::vector<std::string> words;
    for (std::uint64_t i = 0, n = d.below(3) + 1; i < n; ++i) words.push_back(rule_of(d, p.target));
    const bool armed_first = d.below(2);
    const std::size_t total = 1 + d.below(20000), chunk = 1 + d.below(3000);
    if (armed_first) s.set_all(words, ids);
    std::string problem;
    input in(p.near, static_cast<reader>(GetParam()));
    std::thread writer([&] {
      for (std::size_t at = 0; at < total; at += chunk) write_all(p.far, number, at, std::min(chunk, total - at));
      p.far.reset();
    });
    if (!armed_first) s.set_all(words, ids);
    const bool removed_in_between = d.below(4) == 0;
    std::thread cut_off;
    if (!removed_in_between && d.below(8) == 0) cut_off = cut_off_for_a_moment(s, (d.below(2) ? "partition " : "timeout ") + p.target, d.below(2000));
    while (in.read_some(number, reading, problem))
      if (removed_in_between && in.got > total / 2) s.clear();
    writer.join();
    if (cut_off.joinable()) cut_off.join();
    for (const auto id : ids) fired += s.count(id).fired;
    s.clear();
    std::string rules;
    for (const auto& w : words) rules += w + "; ";
    ASSERT_EQ(problem, "") << "case " << number << " at " << in.got << " of " << total << " with " << rules;
    ASSERT_EQ(in.got, total) << "case " << number << " with " << rules;
  }
  EXPECT_GT(fired, cases) << "the rules did nothing";
}

class Written : public Gate, public testing::WithParamInterface<way> {};
INSTANTIATE_TEST_SUITE_P(By, Written, testing::ValuesIn(all_ways), [](const auto& info) { return name_of(info.param); });

TEST_P(Written, IsTheSequenceThatArrives) {
  const char* const more = std::getenv("CHAOS_STREAM_CASES");
  const std::uint64_t cases = more ? std::strtoull(more, nullptr, 10) : 120;
  std::uint64_t fired = 0;
  for (std::uint64_t number = 0; number < cases; ++number) {
    draws d({4000u + static_cast<unsigned>(GetParam())}, number);
    channel p(d.below(3) == 0 ? over::unix_stream : over::tcp);
    std::vector<std::uint32_t> ids;
    std::vector<std::string> words;
    for (std::uint64_t i = 0, n = d.below(3) + 1; i < n; ++i) words.push_back(rule_upstream(d, p.target));
    s.set_all(words, ids);
    const std::size_t total = 1 + d.below(30'000);
    std::string sent(total, 0);
    for (std::size_t i = 0; i < total; ++i) sent[i] = byte_at(number, i);
    std::string got;
    std::thread reader([&] { got = p.hear(total); });
    std::thread cut_off;
    if (d.below(8) == 0) cut_off = cut_off_for_a_moment(s, "partition " + p.target + (d.below(2) ? " --oneway out" : ""), d.below(2000));
    const bool whole = write_by(p.near, GetParam(), sent);
    if (cut_off.joinable()) cut_off.join();
    if (!whole) shutdown(p.near, SHUT_RDWR);
    reader.join();
    for (const auto id : ids) fired += s.count(id).fired;
    s.clear();
    std::string rules;
    for (const auto& w : words) rules += w + "; ";
    ASSERT_TRUE(whole) << "case " << number << " with " << rules;
    ASSERT_EQ(got.size(), total) << "case " << number << " with " << rules;
    ASSERT_TRUE(got == sent) << "case " << number << " with " << rules;
  }
  EXPECT_GT(fired, cases) << "the rules did nothing";
}

TEST_F(Gate, WritesUnderAUpstreamSlicerArriveWhole) {
  for (std::uint64_t number = 0; number < 10; ++number) {
    tcp_pair p;
    const auto id = s.set("slicer " + p.target() + " --average-size 100B --size-variation 90B --direction up");
    std::thread writer([&] { std::string text(30000, 0);
      for (std::size_t i = 0; i < text.size(); ++i) text[i] = byte_at(number, i);
      EXPECT_TRUE(write_by(p.near, way::blocking, text));
      p.near.reset();
    });
    draws d({3000}, number);
    input in(p.far, reader::blocking);
    std::string problem;
    while (in.read_some(number, d, problem)) {}
    writer.join();
    EXPECT_EQ(problem, "");
    EXPECT_EQ(in.got, 30000u);
    EXPECT_GT(s.count(id).fired, 100u);
    s.clear();
  }
}

TEST_F(Gate, ASlicedEdgeReaderIsToldOfTheRest) {  // one that stops at a short read, as many do
  tcp_pair p;
  set_nonblocking(p.near);
  const auto id = s.set("slicer " + p.target() + " --average-size 10B");
  const unique_fd set = epoll_create1(0);
  epoll_event e{};
  e.events = EPOLLIN | EPOLLET;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, p.near, &e), 0);
  put(p.far, std::string(100, 'x'));
  std::size_t got = 0;
  const double start = monotonic_ms();
  while (got < 100 && monotonic_ms() - start < 3000) {
    epoll_event told;
    if (epoll_wait(set, &told, 1, 500) != 1) continue;
    char b[64];
    const ssize_t n = recv(p.near, b, sizeof b, 0);
    ASSERT_LE(n, 10);
    if (n > 0) got += static_cast<std::size_t>(n);
  }
  EXPECT_EQ(got, 100u);
  EXPECT_LT(monotonic_ms() - start, 500) << "told at once, not by the time-out";
  EXPECT_GE(s.count(id).fired, 9u);
}

TEST_F(Gate, CorruptionIsTheSameForAPeekAndTheRead) {
  tcp_pair p;
  const auto id = s.set("corrupt " + p.target() + " 0.2");
  const std::string sent(1000, 'x');
  put(p.far, sent);
  std::string peeked(1000, 0), read_in_pieces;
  ASSERT_EQ(recv(p.near, peeked.data(), 1000, MSG_PEEK | MSG_WAITALL), 1000);
  while (read_in_pieces.size() < 1000) {
    char b[77];
    const ssize_t n = recv(p.near, b, std::min<std::size_t>(sizeof b, 1000 - read_in_pieces.size()), 0);
    ASSERT_GT(n, 0);
    read_in_pieces.append(b, static_cast<std::size_t>(n));
  }
  EXPECT_EQ(peeked, read_in_pieces);
  std::size_t changed = 0;
  for (std::size_t i = 0; i < 1000; ++i) changed += peeked[i] != 'x';
  EXPECT_GT(changed, 137u);  // 200 ± 5 standard deviations
  EXPECT_LT(changed, 263u);
  EXPECT_GT(s.count(id).fired, 1u);
}

TEST_F(Gate, ACorruptedSendLeavesTheCallersBufferAlone) {
  tcp_pair p;
  s.set("corrupt " + p.target() + " --bits 20 --direction up");
  std::string mine(1000, 'x');
  ASSERT_EQ(send(p.near, mine.data(), mine.size(), 0), 1000);
  EXPECT_EQ(mine, std::string(1000, 'x'));
  std::string there(1000, 0);
  ASSERT_EQ(recv(p.far, there.data(), 1000, MSG_WAITALL), 1000);
  EXPECT_NE(there, mine);
}

TEST_F(Gate, LostDatagramsAreCountedAndTheOthersArrive) {
  udp_pair p;
  const auto id = s.set("loss " + p.target() + " 0.5");
  for (int i = 0; i < 100; ++i) put(p.far, std::string(1, static_cast<char>(i)));
  set_nonblocking(p.near);
  std::string got;
  for (char c; recv(p.near, &c, 1, 0) == 1;) got += c;
  EXPECT_EQ(got.size() + s.count(id).fired, 100u);
  EXPECT_GT(got.size(), 25u);
  EXPECT_LT(got.size(), 75u);
  EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
}

}  // namespace
}  // namespace chaos::gate
