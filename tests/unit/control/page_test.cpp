// The rule page: the publish protocol, its checksum, and what a page of another version does.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cstring>
#include <memory>

#include "control/daemon/loop.hpp"
#include "control/daemon/page_writer.hpp"
#include "support.hpp"

namespace chaos::daemon {
namespace {

using testing_support::temporary_folder;

// A bank whose every rule says how many there are, in its id and in its text.
rules::bank_image image_of(unsigned count) {
  rules::bank_image image;
  image.rules.resize(count);
  for (abi::rule& r : image.rules) {
    r.id = count;
    r.name = 1;
  }
  image.text.append(1 + count % 97, static_cast<char>('a' + count % 26));
  image.armed = count;
  return image;
}

// Reads as rule_page.hpp says. 0: the bank changed under the reader; 1: whole; -1: torn.
int read_once(const abi::rule_page& page, abi::rule_bank& copy) {
  const std::uint32_t generation = page.generation.load(std::memory_order_acquire);
  const abi::rule_bank& bank = page.banks[generation % 2];
  if (generation == 0 || bank.generation.load(std::memory_order_acquire) != generation) return 0;
  const std::uint32_t count = std::min(bank.count, abi::rule_max), used = std::min(bank.text_used, abi::text_pool_bytes);
  std::memcpy(static_cast<void*>(copy.rules), bank.rules, count * sizeof(abi::rule));
  std::memcpy(copy.text, bank.text, used);
  const std::uint64_t checksum = bank.checksum;
  std::atomic_thread_fence(std::memory_order_acquire);
  if (bank.generation.load(std::memory_order_relaxed) != generation) return 0;
  return rules::checksum_of(copy.rules, count, copy.text, used) == checksum ? 1 : -1;
}

// The writer is another process, as in life: a sanitizer would call the seqlock within one process a race.
TEST(Publish, AReaderAtFullSpeedNeverTakesATornBank) {
  void* const shared = mmap(nullptr, sizeof(abi::rule_page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto& page = *static_cast<abi::rule_page*>(shared);
  const pid_t writer = fork();
  if (writer == 0) {
    const auto small = image_of(3), middle = image_of(17), large = image_of(64);
    for (;;) {
      publish_into(page, small);
      publish_into(page, large);
      publish_into(page, middle);
    }
  }
  const auto copy = std::make_unique<abi::rule_bank>();
  unsigned whole = 0, torn = 0, changed = 0;
  const auto end = monotonic_ns() + 500'000'000;
  while (monotonic_ns() < end || (whole < 100 && monotonic_ns() < end + 5'000'000'000)) {
    const int outcome = read_once(page, *copy);
    ++(outcome == 1 ? whole : outcome == 0 ? changed : torn);
  }
  kill(writer, SIGKILL);
  waitpid(writer, nullptr, 0);
  EXPECT_EQ(torn, 0u) << changed << " times the bank changed under the reader";
  EXPECT_GE(whole, 100u);
  EXPECT_GE(page.generation.load(), 100u) << "the writer was not fast enough for the test to mean anything";
  munmap(shared, sizeof(abi::rule_page));
}

TEST(Publish, GenerationsSkipZero) {
  const auto page = std::make_unique<abi::rule_page>();
  page->generation.store(UINT32_MAX);
  publish_into(*page, image_of(1));
  const std::uint32_t g = page->generation.load();
  EXPECT_NE(g, 0u);
  EXPECT_EQ(page->banks[g % 2].generation.load(), g);
}

TEST(PageWriter, LeaseIsThreeSecondsAheadAfterPublishing) {
  const temporary_folder folder;
  auto page = page_writer::open(testing_support::session_in(folder));
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(page->lease_left_ns(), 0u);
  page->publish(image_of(2));
  EXPECT_GT(page->lease_left_ns(), abi::lease_ns - 500'000'000);
  EXPECT_LE(page->lease_left_ns(), abi::lease_ns);
  EXPECT_EQ(page->page().armed_classes.load(), 2u);
  EXPECT_EQ(page->highest_id(), 2u);
  page->end_lease();
  EXPECT_EQ(page->lease_left_ns(), 0u);
}

TEST(PageWriter, BookkeepingClassesLingerWhenTheLastRuleIsGone) {
  const temporary_folder folder;
  auto page = page_writer::open(testing_support::session_in(folder));
  ASSERT_TRUE(page) << page.error().message;
  namespace classes = abi::classes;
  rules::bank_image image = image_of(2);
  image.armed = classes::stream_in | classes::readiness | classes::close | classes::process | classes::alloc;
  page->publish(image);
  page->publish({});
  EXPECT_EQ(page->page().armed_classes.load(), classes::stream_in | classes::readiness | classes::close) << "no allocation, no system call by number";
  EXPECT_EQ(page->page().banks[page->page().generation.load() % 2].count, 0u);
  image.armed = classes::alloc;
  page->publish(image);
  EXPECT_EQ(page->page().armed_classes.load(), classes::stream_in | classes::readiness | classes::close | classes::alloc);
  page->stop_lingering();
  EXPECT_EQ(page->page().armed_classes.load(), classes::alloc);
}

TEST(PageWriter, LingeringEndsByItself) {
  const temporary_folder folder;
  auto page = page_writer::open(testing_support::session_in(folder));
  ASSERT_TRUE(page) << page.error().message;
  rules::bank_image image = image_of(2);
  image.armed = abi::classes::stream_in;
  page->publish(image);
  page->publish({});
  EXPECT_NE(page->page().armed_classes.load(), 0u);
  EXPECT_TRUE(testing_support::wait_until([&] { page->renew_lease(); return page->page().armed_classes.load() == 0; }));
}

TEST(PageWriter, PausedRulesDoNotLinger) {
  const temporary_folder folder;
  auto page = page_writer::open(testing_support::session_in(folder));
  ASSERT_TRUE(page) << page.error().message;
  rules::bank_image image = image_of(2);
  image.armed = abi::classes::stream_in;
  page->publish(image);
  image.paused = std::exchange(image.armed, 0);
  page->publish(image);
  EXPECT_EQ(page->page().armed_classes.load(), 0u);
}

TEST(PageWriter, RefusesAPageOfAnotherVersionAndLeavesItAlone) {
  const temporary_folder folder;
  const auto where = testing_support::session_in(folder);
  { ASSERT_TRUE(page_writer::open(where)); }
  const std::string path = where.file(abi::rule_page_name);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  const std::uint32_t other = abi::abi_version + 1;
  ASSERT_EQ(pwrite(fd, &other, sizeof other, 8), static_cast<ssize_t>(sizeof other));
  close(fd);
  const std::string before = testing_support::read_file(path);
  const auto page = page_writer::open(where);
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().code, rules::problem_code::version_mismatch);
  EXPECT_NE(page.error().message.find("version " + std::to_string(other)), std::string::npos) << page.error().message;
  EXPECT_EQ(testing_support::read_file(path), before);
}

TEST(PageWriter, NoticesThatThePageWasTruncated) {
  const temporary_folder folder;
  const auto where = testing_support::session_in(folder);
  auto page = page_writer::open(where);
  ASSERT_TRUE(page);
  EXPECT_TRUE(page->intact());
  ASSERT_EQ(truncate(where.file(abi::rule_page_name).c_str(), 0), 0);
  EXPECT_FALSE(page->intact());
}

}  // namespace
}  // namespace chaos::daemon
