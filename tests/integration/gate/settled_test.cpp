// Calls whose only rule says no are settled in front of the common road (hooks/quick_no): each is counted, once.
#include "channels.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <functional>
#include <thread>

namespace chaos::gate {
namespace {

class Settled : public Gate {
 protected:
  tcp_pair p;
  std::uint32_t id = 0;
};

// A rule that is the only one is asked in front of the common road, whichever way of a file or a stream it is about.
TEST_F(Settled, CallsThatTheTriggerSaysNoToAreMatches) {
  const temporary_folder folder;
  const std::string path = folder.path() + "/file";
  const unique_fd file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  char c = 'x';
  const struct { const char* function; std::function<bool()> call; std::uint64_t bytes; } ways[] = {
      {"write", [&] { return write(file, &c, 1) == 1; }, 1}, {"pread", [&] { return pread(file, &c, 1, 0) == 1; }, 1}, {"fsync", [&] { return fsync(file) == 0; }, 0}, {"fdatasync", [&] { return fdatasync(file) == 0; }, 0}};
  for (const auto& w : ways) {
    id = s.set("io_error file:" + path + " EIO --on " + w.function + " --probability 0");
    for (std::uint64_t n = 1; n <= 5; ++n) {
      ASSERT_TRUE(w.call()) << w.function;
      EXPECT_EQ(s.count(id).matched, n) << w.function;
    }
    EXPECT_EQ(s.count(id).bytes, 5 * w.bytes) << w.function;
    s.clear();
  }
  for (const char* const function : {"send", "recv"}) {
    id = s.set("error " + p.target() + " ECONNRESET --on " + function + " --probability 0");
    for (std::uint64_t n = 1; n <= 5; ++n) {
      ASSERT_EQ(send(p.near, "xy", 2, 0), 2);
      ASSERT_EQ(send(p.far, "xy", 2, 0), 2);
      char b[2];
      ASSERT_EQ(recv(p.near, b, 2, MSG_WAITALL), 2);
      EXPECT_EQ(recv(p.near, b, 2, MSG_DONTWAIT), -1) << "nothing there: no operation";
      EXPECT_EQ(s.count(id).matched, n) << function;
    }
    EXPECT_EQ(s.count(id).bytes, 10u) << function;
    s.clear();
  }
}

// The first of two readers has the connection for itself until the other one comes, with a call of its own under way.
TEST_F(Settled, ReadsOfTwoThreadsAreEachCountedOnceAndFireOnce) {
  constexpr std::uint64_t bytes = 6000;
  for (const int flags : {0, static_cast<int>(MSG_DONTWAIT)}) {
    tcp_pair q;
    id = s.set("error " + q.target() + " EIO --force --on recv --when 3000 --times 1");
    std::atomic<std::uint64_t> taken{0}, failed{0};
    const auto read = [&] {
      char c;
      while (taken < bytes) {
        const ssize_t n = recv(q.near, &c, 1, flags);
        if (n == 1) ++taken;
        else if (n == 0) return;
        else if (errno == EIO) ++failed;
      }
    };
    std::thread one(read);
    ASSERT_EQ(send(q.far, "xxx", 3, 0), 3);
    EXPECT_TRUE(wait_until([&] { return taken == 3; }));
    std::thread two(read);
    for (std::uint64_t sent = 3; sent < bytes;) {
      const std::string some(std::min<std::uint64_t>(bytes - sent, 1 + sent % 37), 'x');
      ASSERT_EQ(send(q.far, some.data(), some.size(), 0), static_cast<ssize_t>(some.size()));
      sent += some.size();
    }
    EXPECT_TRUE(wait_until([&] { return taken >= bytes; }));
    shutdown(q.far, SHUT_RDWR);
    one.join();
    two.join();
    EXPECT_EQ(failed, 1u) << flags;
    EXPECT_EQ(s.count(id).fired, 1u) << flags;
    const std::uint64_t ends = s.count(id).matched - bytes - 1;  // reads that found the end
    EXPECT_LE(ends, 2u) << flags;
    EXPECT_EQ(s.count(id).bytes, bytes) << flags;
    s.clear();
  }
}

}  // namespace
}  // namespace chaos::gate
