// Promise 5: same seed, same operations of each connection and thread: same faults, whatever the schedule of the threads.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>
#include <vector>

#include "tests/support/process.hpp"
#include "tests/support/session.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/temporary_folder.hpp"

namespace chaos {
namespace {

using namespace testing_support;

class promise_5 : public testing::Test {
 protected:
  listener service;
  temporary_folder data;
  const std::string file = data.path() + "/file";
  std::atomic<bool> over{false};
  std::thread echo{[this] {
    std::vector<pollfd> all{{service.fd, POLLIN, 0}};
    while (!over) {
      if (poll(all.data(), all.size(), 20) <= 0) continue;
      if (all[0].revents) all.push_back({accept(service.fd, nullptr, nullptr), POLLIN, 0});
      for (std::size_t i = 1; i < all.size(); ++i) {
        char c;
        if (!all[i].revents) continue;
        if (recv(all[i].fd, &c, 1, 0) == 1) send(all[i].fd, &c, 1, MSG_NOSIGNAL);
        else { close(all[i].fd); all[i].fd = -1; }
      }
    }
    for (std::size_t i = 1; i < all.size(); ++i) close(all[i].fd);
  }};
  promise_5() { std::ofstream(file) << "x"; }
  ~promise_5() override {
    over = true;
    echo.join();
  }

  // What was decided, a line each, ordered by rule, connection (or thread) and operation.
  std::vector<std::string> decided(std::uint64_t seed, int schedule) {
    const temporary_folder folder;
    session s(folder.path());
    s.seed(seed);
    std::vector<std::uint32_t> ids;
    s.set_all({"error " + service.target() + " ECONNABORTED=1,EIO=2 --force --on send,recv --probability 10% --name e",
               "latency " + service.target() + " 300us --jitter 200us --distribution normal --probability 30% --name l",
               "loss " + service.target() + " 20% --toxicity 80% --dry-run --name s",
               "io_error file:" + file + " EIO,ENOSPC --force --on pread --probability 15% --name f"}, ids);
    const outcome o = run({CLIENT, std::to_string(service.port), file, std::to_string(schedule)}, under_shim(folder.path()));
    EXPECT_EQ(o.status, 0) << o.err;
    for (const auto id : ids) EXPECT_GT(s.count(id).fired, 0u) << id;
    std::vector<std::string> log;
    for (const auto& e : s.events()) {
      if (e.kind != abi::event_kind::injection) continue;
      char line[200];
      std::snprintf(line, sizeof line, "rule %u connection %u op %6llu function %u error %d delay %llu", e.rule, e.connection,
                    static_cast<unsigned long long>(e.operation), e.function, e.error, static_cast<unsigned long long>(e.delay_ns));
      log.push_back(line);
    }
    std::sort(log.begin(), log.end());
    return log;
  }
};

TEST_F(promise_5, SameSeedSameFaultsWhateverTheThreadScheduleAndAnotherSeedDiffers) {
  const auto first = decided(42, 1);
  EXPECT_GT(first.size(), 100u);
  for (const int schedule : {2, 3, 4}) EXPECT_EQ(decided(42, schedule), first) << "schedule " << schedule;
  EXPECT_NE(decided(43, 1), first);
}

// A rule that is the only one on its connections is asked in front of the common road, for many operations at once: it fires where
// it does beside another rule, which is where the trigger says so.
TEST_F(promise_5, ARuleThatIsAskedAloneFiresWhereItDoesAmongOthers) {
  const auto fired = [&](const std::string& rule, bool alone) {
    const temporary_folder folder;
    session s(folder.path());
    s.seed(7);
    const auto id = s.set(rule);
    if (!alone) s.set("observe " + service.target());
    const outcome o = run({CLIENT, std::to_string(service.port), file, "1"}, under_shim(folder.path()));
    EXPECT_EQ(o.status, 0) << o.err;
    std::vector<std::pair<std::uint32_t, std::uint64_t>> at;
    for (const auto& e : s.events())
      if (e.kind == abi::event_kind::injection && e.rule == id) at.emplace_back(e.connection, e.operation);
    std::sort(at.begin(), at.end());
    EXPECT_EQ(s.count(id).fired, at.size());
    return std::pair{at, s.count(id).matched};
  };
  for (const std::string how : {"--on send --probability 10%", "--on send --probability 90%", "--on recv --probability 3%", "--on recv --probability 20% --times 3",
                                "--on send --when 7+9", "--on send --toxicity 50% --probability 30%", "--on send", "--on send,recv --probability 0.5"}) {
    const std::string rule = "error " + service.target() + " EIO --force " + how;
    const auto alone = fired(rule, true), among = fired(rule, false);
    EXPECT_FALSE(among.first.empty()) << how;
    EXPECT_EQ(alone, among) << how;
  }
}

}  // namespace
}  // namespace chaos
