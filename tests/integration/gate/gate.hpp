// What the tests of delayed data share. Times are judged against one tolerance: later than due by less than `slack_ms`
// (other work runs on the machine), earlier by less than `early_ms` (clock granularity).
#pragma once
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "tests/support/session.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/threads.hpp"
#include "tests/support/waiting.hpp"

namespace chaos::gate {

using namespace testing_support;

inline constexpr double slack_ms = 40, early_ms = 0.2;

inline testing::AssertionResult on_time(double took_ms, double due_ms) {
  if (took_ms < due_ms - early_ms) return testing::AssertionFailure() << took_ms << " ms is earlier than " << due_ms;
  if (took_ms > due_ms + slack_ms) return testing::AssertionFailure() << took_ms << " ms is later than " << due_ms;
  return testing::AssertionSuccess();
}

class Gate : public testing::Test {
 protected:
  session& s = session::of_this_process();
  ~Gate() override { s.clear(); }
  std::uint32_t delay(const std::string& target, int ms) { return s.set("latency " + target + " " + std::to_string(ms) + "ms"); }
  static void put(int fd, const std::string& text) { ASSERT_EQ(send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size())); }
};

// Removal lets go within 10 ms; on a loaded machine the scheduler may add to that, so that the best of five counts.
template <class Attempt>
void expect_prompt(Attempt attempt) {
  double best = 1e9;
  for (int i = 0; i < 5 && best > 10; ++i) best = std::min(best, attempt());
  EXPECT_LE(best, 10) << "ms after the removal";
}

struct timed {
  double ms;
  long result;
  int error;
};
template <class Call>
timed time_of(Call call) {
  const double start = monotonic_ms();
  const long r = static_cast<long>(call());
  return {monotonic_ms() - start, r, errno};
}

}  // namespace chaos::gate
