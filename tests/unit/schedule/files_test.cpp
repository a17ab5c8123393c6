// The files of a schedule: replaced as a whole, and the lock that tells whether it runs.
#include "control/schedule/files.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/support/temporary_folder.hpp"

namespace {

using namespace chaos::schedule;

std::string content(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(ScheduleFiles, AReaderSeesTheOldTextOrTheNewOne) {
  const chaos::testing_support::temporary_folder folder;
  const std::string path = folder.path() + "/state.json", a(5000, 'a'), b(9000, 'b');
  ASSERT_TRUE(replace_file(path, a));
  std::atomic<bool> over{false};
  std::atomic<unsigned> torn{0}, read{0};
  std::thread reader([&] {
    while (!over) {
      const auto seen = content(path);
      if (seen != a && seen != b) ++torn;
      ++read;
    }
  });
  // the reader may start late: writing goes on until it has read something, too
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  bool written = true;
  for (int i = 0; written && (i < 300 || read < 20) && std::chrono::steady_clock::now() < deadline; ++i) written = replace_file(path, i % 2 ? a : b).ok();
  over = true;
  reader.join();
  EXPECT_TRUE(written);
  EXPECT_EQ(torn, 0u);
  EXPECT_GE(read, 20u);
}

TEST(ScheduleFiles, AFileThatCanNotBeWrittenSaysWhy) {
  const auto r = replace_file("/nowhere/state.json", "x");
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().message.find("/nowhere/state.json: No such file"), std::string::npos);
}

TEST(ScheduleFiles, OneOfANameRunsAtATime) {
  const chaos::testing_support::temporary_folder folder;
  {
    const auto first = lock::take(folder.path(), "nightly");
    ASSERT_TRUE(first);
    const auto second = lock::take(folder.path(), "nightly");
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("runs already"), std::string::npos);
    EXPECT_TRUE(lock::take(folder.path(), "other").ok());
    const auto known = known_schedules(folder.path());
    ASSERT_EQ(known.size(), 2u);
    EXPECT_TRUE(known[0].running);
    EXPECT_EQ(known[0].pid, getpid());
    EXPECT_FALSE(known[1].running);
    EXPECT_EQ(known[1].pid, 0) << "of one that is over";
  }
  EXPECT_FALSE(known_schedules(folder.path())[0].running);
  EXPECT_TRUE(lock::take(folder.path(), "nightly").ok());
}

TEST(ScheduleFiles, WhoLooksKeepsNobodyOut) {
  const chaos::testing_support::temporary_folder folder;
  std::atomic<bool> over{false};
  std::atomic<unsigned> looked{0};
  std::thread looking([&] {
    while (!over) known_schedules(folder.path()), ++looked;
  });
  unsigned refused = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (int i = 0; (i < 2000 || looked < 500) && std::chrono::steady_clock::now() < deadline; ++i) refused += !lock::take(folder.path(), "nightly");
  over = true;
  looking.join();
  EXPECT_EQ(refused, 0u);
  EXPECT_GE(looked, 500u);
}

TEST(ScheduleFiles, ARecordThatMakesNoSenseIsNone) {
  const chaos::testing_support::temporary_folder folder;
  EXPECT_FALSE(read_record(folder.path(), "x"));
  ASSERT_TRUE(replace_file(record_path(folder.path(), "x"), "{\"state\":"));
  EXPECT_FALSE(read_record(folder.path(), "x"));
  ASSERT_TRUE(replace_file(record_path(folder.path(), "x"), "{\"state\":\"waiting\"}"));
  EXPECT_EQ((*read_record(folder.path(), "x"))["state"], "waiting");
}

}  // namespace
