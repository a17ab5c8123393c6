// Events as lines: their fields, the aggregation that loses no count, the bound on the files.
#include "control/daemon/timeline.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>

#include "support.hpp"

namespace chaos::daemon {
namespace {

using nlohmann::json;
using testing_support::temporary_folder;

class Timeline : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void open() {
    timeline_.reset();
    timeline_ = std::make_unique<timeline>(path(), [](std::uint32_t id) { return rule_names{"rule" + std::to_string(id), "t"}; },
                                           [this](const std::string& line) { lines_.push_back(json::parse(line)); });
  }
  std::string path() const { return folder_.path() + "/timeline.jsonl"; }
  static abi::event sample() {
    abi::event e{};
    e.time_ns = 123;
    e.pid = getpid();
    e.tid = 5;
    e.rule = 7;
    e.function = static_cast<std::uint16_t>(abi::function_id::recv);
    e.error = ECONNRESET;
    e.delay_ns = 9;
    e.effect = static_cast<std::uint8_t>(abi::effect::error);
    e.connection = 3;
    e.operation = 4;
    std::strcpy(e.text, "127.0.0.1:6379");
    return e;
  }
  temporary_folder folder_;
  std::vector<json> lines_;
  std::unique_ptr<timeline> timeline_;
};

TEST_F(Timeline, HasTheDocumentedFields) {
  abi::event e = sample();
  e.caller = reinterpret_cast<std::uint64_t>(&getpid);
  timeline_->take(11, e, 1);
  ASSERT_EQ(lines_.size(), 1u);
  const json& line = lines_[0];
  for (const char* field : {"seq", "time_ns", "pid", "tid", "function", "rule", "kind", "target", "effect", "errno", "delay_ns", "bytes", "connection", "op", "caller"})
    EXPECT_TRUE(line.contains(field)) << field;
  EXPECT_EQ(line["seq"], 11);
  EXPECT_EQ(line["function"], "recv");
  EXPECT_EQ(line["rule"], 7);
  EXPECT_EQ(line["rule_name"], "rule7");
  EXPECT_EQ(line["kind"], "injection");
  EXPECT_EQ(line["target"], "127.0.0.1:6379");
  EXPECT_EQ(line["effect"], "error");
  EXPECT_EQ(line["errno"], "ECONNRESET");
  EXPECT_NE(line["caller"].get<std::string>().find("+0x"), std::string::npos) << line["caller"];
}

TEST_F(Timeline, AStackIsAListOfFramesAndNotThereWithoutOne) {
  timeline_->take(1, sample(), 1);
  EXPECT_FALSE(lines_[0].contains("stack"));
  const std::vector<std::string> stack = {"libhiredis.so.1(redisBufferRead+0x4f)", "\"\n\xff", "0x7f00"};
  timeline_->take(2, sample(), 1, stack);
  ASSERT_EQ(lines_[1]["stack"].size(), 3u);
  EXPECT_EQ(lines_[1]["stack"][0], stack[0]);
  EXPECT_EQ(lines_[1]["stack"][1], "\"\n\xef\xbf\xbd");
}

TEST_F(Timeline, WhatATargetInventsIsStillALineOfJson) {
  abi::event e;
  std::memset(static_cast<void*>(&e), 0xff, sizeof e);
  timeline_->take(UINT64_MAX, e, 1);
  std::memset(e.text, '"', sizeof e.text);
  e.kind = abi::event_kind::annotation;
  timeline_->take(1, e, 1);
  std::memset(e.text, '\n', sizeof e.text);
  timeline_->take(2, e, 1);
  EXPECT_EQ(lines_.size(), 3u);
}

TEST_F(Timeline, AggregatesAboveAThousandASecondAndCountsAll) {
  constexpr std::uint64_t total = 5000, second = 1'000'000'000;
  for (std::uint64_t i = 0; i < total; ++i) timeline_->take(i, sample(), second + i);
  timeline_->tick(2 * second + total);
  std::uint64_t counted = 0, single = 0;
  for (const json& line : lines_) {
    const bool aggregated = line.value("aggregated", false);
    counted += aggregated ? line["count"].get<std::uint64_t>() : 1;
    single += !aggregated;
  }
  EXPECT_EQ(single, timeline::lines_a_second);
  EXPECT_EQ(counted, total);
  EXPECT_EQ(lines_.back()["rule"], 7);
  EXPECT_EQ(lines_.back()["seq"], total - 1);
}

abi::event note(std::int32_t pid, const std::string& text, const char* category = "breaker") {
  abi::event e{};
  e.pid = pid;
  e.kind = abi::event_kind::annotation;
  std::strcpy(e.text, category);
  std::strncpy(e.text + std::strlen(category) + 1, text.c_str(), sizeof e.text - std::strlen(category) - 2);
  return e;
}

abi::event error_of(std::int32_t pid) {
  abi::event e{};
  e.pid = pid;
  e.kind = abi::event_kind::injection;
  e.effect = static_cast<std::uint8_t>(abi::effect::error);
  return e;
}

TEST(Causes, AreTheInjectionsOfTheProcessSinceTheBreakersPreviousMove) {
  causes c;
  EXPECT_FALSE(c.take(0, note(1, "redis: closed -> open (failure_rate)"))) << "nothing was injected";
  for (std::uint64_t seq = 1; seq <= 8; ++seq) EXPECT_FALSE(c.take(seq, error_of(seq == 7 ? 2 : 1)));
  EXPECT_FALSE(c.take(9, note(1, "redis: open -> half_open (recovery_elapsed)")));
  const auto other = c.take(10, note(1, "a: b -> c: closed -> open (consecutive_failures) after 5 failures"));
  ASSERT_TRUE(other);
  EXPECT_EQ(std::make_tuple(other->first, other->last, other->count), std::make_tuple(3u, 8u, 5u)) << "7 is another's";
  EXPECT_FALSE(c.take(11, note(1, "redis: half_open -> open (probe_failed)"))) << "none since 9";
  c.take(12, error_of(1));
  const auto probe = c.take(13, note(1, "redis: half_open -> open (probe_failed)"));
  ASSERT_TRUE(probe);
  EXPECT_EQ(std::make_tuple(probe->first, probe->last, probe->count), std::make_tuple(12u, 12u, 1u));
}

TEST(Causes, DoNotCountWhatFailsNoCallAndNotesOfOthers) {
  causes c;
  abi::event e = error_of(1);
  e.flags = abi::event_flags::dry_run;
  c.take(1, e);
  e = error_of(1);
  e.effect = static_cast<std::uint8_t>(abi::effect::observe);
  c.take(2, e);
  EXPECT_FALSE(c.take(3, note(1, "redis: closed -> open (failure_rate)")));
  c.take(4, error_of(1));
  EXPECT_FALSE(c.take(5, note(1, "redis: closed -> open (failure_rate)", "shop")));
  EXPECT_FALSE(c.take(6, note(1, "redis: closed -> forced_open (command)")));
  EXPECT_FALSE(c.take(7, note(1, "redis: closed -> open (failure_rate)"))) << "4 was before the move at 6";
  e.kind = abi::event_kind::attach;
  c.take(8, error_of(1));
  c.take(9, e);
  EXPECT_FALSE(c.take(10, note(1, "redis: closed -> open (failure_rate)"))) << "another program by then";
}

TEST(Causes, AreBoundedWhateverTargetsInvent) {
  causes c;
  std::uint64_t seq = 0;
  for (std::int32_t pid = 0; pid < 2000; ++pid) c.take(++seq, error_of(pid));
  for (int i = 0; i < 2000; ++i) {
    c.take(++seq, error_of(-7));
    const auto found = c.take(++seq, note(-7, std::to_string(i) + ": closed -> open (x) after 99999999999999999999 failures"));
    ASSERT_TRUE(found);
    EXPECT_LE(found->count, causes::injections_max);
  }
  abi::event e;
  std::memset(static_cast<void*>(&e), 0xff, sizeof e);
  e.kind = abi::event_kind::annotation;
  EXPECT_FALSE(c.take(++seq, e));
  EXPECT_FALSE(c.take(++seq, note(1, " -> open (")));
  EXPECT_FALSE(c.take(++seq, note(1, "")));
}

TEST_F(Timeline, TellsAfterWhichInjectionsABreakerOpened) {
  abi::event e = sample();
  timeline_->take(41, e, 1);
  timeline_->take(45, e, 1);
  timeline_->take(46, note(e.pid, "redis: closed -> open (failure_rate)"), 1);
  ASSERT_EQ(lines_.size(), 3u);
  EXPECT_EQ(lines_[2]["after"], json::parse("[41,45]"));
  EXPECT_EQ(lines_[2]["after_count"], 2);
}

TEST_F(Timeline, GoesOnAfterTheLastTicketInTheFile) {
  EXPECT_EQ(timeline::next_ticket(path()), 0u);
  timeline_->take(41, sample(), 1);
  timeline_->flush();
  EXPECT_EQ(timeline::next_ticket(path()), 42u);
}

TEST_F(Timeline, IsRotatedAndBounded) {
  const std::string line = "{\"text\":\"" + std::string(100'000, 'x') + "\"}\n";
  timeline quiet(path(), [](std::uint32_t) { return rule_names{}; }, [](const std::string&) {});
  const auto lines = (timeline::files_kept + 2) * quiet.file_bytes() / line.size();
  for (std::size_t i = 0; i < lines; ++i) quiet.say(line);
  quiet.flush();
  std::size_t files = 0, bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    ++files;
    bytes += entry.file_size();
  }
  EXPECT_EQ(files, timeline::files_kept);
  EXPECT_LE(bytes, timeline::files_kept * (quiet.file_bytes() + 1024 * 1024));
  EXPECT_EQ(quiet.unwritten(), 0u);
}

TEST_F(Timeline, TakesAQuarterOfTheDiskAtMost) {
  struct statvfs disk {};
  ASSERT_EQ(statvfs(folder_.path().c_str(), &disk), 0);
  const std::uint64_t size = std::uint64_t{disk.f_blocks} * disk.f_frsize;
  EXPECT_EQ(timeline_->file_bytes(), timeline::file_bytes_of(size));
  constexpr std::uint64_t mib = 1024 * 1024;
  EXPECT_EQ(timeline::file_bytes_of(64 * mib), 4 * mib);  // /dev/shm of a container
  EXPECT_EQ(timeline::file_bytes_of(10'000 * mib), timeline::file_bytes_max);
  EXPECT_EQ(timeline::file_bytes_of(0), timeline::file_bytes_max) << "a file system that does not tell";
}

// Every line of the file is one, also after the disk was full or chaosd was killed in the middle of a write.
TEST_F(Timeline, NeverHasHalfALine) {
  const auto lines_in_file = [&] {
    std::istringstream text(testing_support::read_file(path()));
    std::vector<int> numbers;
    for (std::string line; std::getline(text, line);) numbers.push_back(json::parse(line)["n"].get<int>());
    return numbers;
  };
  const auto line = [](int n) { return "{\"n\":" + std::to_string(n) + ",\"text\":\"xxxxxxxxxxxxxxxx\"}\n"; };
  timeline_->say(line(1));
  timeline_->flush();
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{}, tight{};
  getrlimit(RLIMIT_FSIZE, &old);
  tight = old;
  tight.rlim_cur = line(1).size() * 5 / 2;
  setrlimit(RLIMIT_FSIZE, &tight);
  for (const int n : {2, 3, 4}) timeline_->say(line(n));
  timeline_->flush();
  setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_EQ(lines_in_file(), (std::vector{1, 2}));
  EXPECT_EQ(timeline_->unwritten(), 2u);
  timeline_->say(line(5));
  timeline_->flush();
  EXPECT_EQ(lines_in_file(), (std::vector{1, 2, 5}));
  timeline_.reset();
  std::ofstream(path(), std::ios::app) << line(6).substr(0, 9);
  open();
  timeline_->say(line(7));
  timeline_->flush();
  EXPECT_EQ(lines_in_file(), (std::vector{1, 2, 5, 7}));
}

TEST_F(Timeline, RemembersABoundedNumberOfLines) {
  for (int i = 0; i < 3000; ++i) timeline_->say("{}\n");
  EXPECT_EQ(timeline_->recent().size(), timeline::recent_max);
}

}  // namespace
}  // namespace chaos::daemon
