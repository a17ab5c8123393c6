// The report page is written by targets: draining must be exact with honest ones and harmless with hostile ones.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cstring>
#include <random>

#include "control/daemon/drain.hpp"
#include "control/daemon/loop.hpp"
#include "control/daemon/processes.hpp"
#include "support.hpp"

namespace chaos::daemon {
namespace {

using testing_support::temporary_folder;

class Report : public testing::Test {
 protected:
  void SetUp() override {
    where_ = testing_support::session_in(folder_);
    auto opened = report_reader::open(where_);
    ASSERT_TRUE(opened) << opened.error().message;
    reader_.emplace(std::move(*opened));
    const int fd = open(where_.file(abi::report_page_name).c_str(), O_RDWR | O_CLOEXEC);
    page_ = static_cast<abi::report_page*>(mmap(nullptr, sizeof(abi::report_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    close(fd);
    ASSERT_NE(page_, MAP_FAILED);
  }
  void TearDown() override { munmap(page_, sizeof(abi::report_page)); }

  // As the shim does it.
  void write_event(std::uint64_t bytes, bool finish = true) {
    const std::uint64_t ticket = page_->ring_head.fetch_add(1);
    abi::ring_slot& slot = page_->ring[ticket % abi::ring_slots];
    slot.sequence.store(2 * ticket + 1);
    slot.entry = {};
    slot.entry.bytes = bytes;
    slot.entry.rule = 1;
    if (finish) slot.sequence.store(2 * ticket + 2);
  }

  temporary_folder folder_;
  protocol::session_location where_;
  std::optional<report_reader> reader_;
  abi::report_page* page_ = nullptr;
};

TEST_F(Report, AStackBelongsToItsEventOnly) {
  const auto write = [&](std::uint64_t ticket, std::uint64_t sequence, std::string_view text, std::uint32_t bytes) {
    abi::stack_slot& slot = page_->stacks[ticket % abi::stack_slots];
    text.copy(slot.text, sizeof slot.text);
    slot.bytes = bytes;
    slot.sequence.store(sequence);
  };
  using namespace std::string_view_literals;
  const auto two = "a(b+0x1)\0c+0x2\0"sv;
  write(5, 2 * 5 + 2, two, static_cast<std::uint32_t>(two.size()));
  EXPECT_EQ(reader_->stack(5), (std::vector<std::string>{"a(b+0x1)", "c+0x2"}));
  EXPECT_TRUE(reader_->stack(5 + abi::stack_slots).empty()) << "not that of an earlier event";
  write(5, 2 * 5 + 1, two, static_cast<std::uint32_t>(two.size()));
  EXPECT_TRUE(reader_->stack(5).empty()) << "half written";
  write(5, 2 * 5 + 2, two, sizeof abi::stack_slot::text + 1);
  EXPECT_TRUE(reader_->stack(5).empty()) << "longer than its slot";
  write(5, 2 * 5 + 2, "", sizeof abi::stack_slot::text);
  EXPECT_LE(reader_->stack(5).size(), abi::stack_frame_max) << "nothing but empty frames";
}

TEST_F(Report, EventsComeOutInOrderAndOnce) {
  drain d(*reader_);
  for (std::uint64_t i = 0; i < 10; ++i) write_event(i);
  std::vector<std::uint64_t> seen;
  const auto take = [&](std::uint64_t ticket, const abi::event& e) {
    EXPECT_EQ(ticket, e.bytes);
    seen.push_back(e.bytes);
  };
  d.run(1, take);
  d.run(2, take);
  EXPECT_EQ(seen.size(), 10u);
  EXPECT_EQ(d.lost(), 0u);
}

TEST_F(Report, AnOverrunRingLosesTheOldestAndCountsThem) {
  drain d(*reader_);
  const std::uint64_t total = abi::ring_slots * 2 + 100;
  for (std::uint64_t i = 0; i < total; ++i) write_event(i);
  std::uint64_t first = UINT64_MAX;
  d.run(1, [&](std::uint64_t ticket, const abi::event&) { first = std::min(first, ticket); });
  EXPECT_EQ(first, total - abi::ring_slots);
  EXPECT_EQ(d.taken() + d.lost(), total);
  EXPECT_EQ(d.lost(), total - abi::ring_slots);
}

TEST_F(Report, AWriterThatDiedIsWaitedForThenCounted) {
  drain d(*reader_);
  write_event(0);
  write_event(1, false);
  write_event(2);
  std::vector<std::uint64_t> seen;
  const auto take = [&](std::uint64_t ticket, const abi::event&) { seen.push_back(ticket); };
  d.run(1'000, take);
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{0})) << "what comes after an unfinished slot waits, to keep the order";
  d.run(1'000 + drain::patience_ns, take);
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{0, 2}));
  EXPECT_EQ(d.lost(), 1u);
}

TEST_F(Report, AWriterThatWasOnlySlowIsNotLost) {
  drain d(*reader_);
  write_event(7, false);
  unsigned n = 0;
  d.run(1'000, [&](std::uint64_t, const abi::event&) { ++n; });
  page_->ring[0].sequence.store(2);
  d.run(2'000, [&](std::uint64_t, const abi::event& e) { n += e.bytes == 7; });
  EXPECT_EQ(n, 1u);
  EXPECT_EQ(d.lost(), 0u);
}

// Writers are processes, as in life; afterwards taken + lost is exactly what they wrote, and nothing taken is torn.
TEST_F(Report, TakenPlusLostIsExactUnderWritersAtFullSpeed) {
  constexpr int writers = 2;
  constexpr std::uint64_t each = 100'000;
  drain d(*reader_);
  pid_t pids[writers];
  for (pid_t& pid : pids) {
    pid = fork();
    if (pid == 0) {
      for (std::uint64_t i = 0; i < each; ++i) {
        const std::uint64_t ticket = page_->ring_head.fetch_add(1);
        abi::ring_slot& slot = page_->ring[ticket % abi::ring_slots];
        slot.sequence.store(2 * ticket + 1);
        slot.entry.bytes = slot.entry.delay_ns = slot.entry.operation = ticket;
        slot.sequence.store(2 * ticket + 2);
      }
      _exit(0);
    }
  }
  std::uint64_t torn = 0;
  const auto take = [&](std::uint64_t ticket, const abi::event& e) {
    torn += e.bytes != ticket || e.delay_ns != ticket || e.operation != ticket;
  };
  for (int ended = 0; ended < writers;) {
    d.run(monotonic_ns(), take);
    ended += waitpid(-1, nullptr, WNOHANG) > 0;
  }
  EXPECT_TRUE(testing_support::wait_until([&] {
    d.run(monotonic_ns(), take);
    return d.next() == writers * each;
  }));
  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(d.taken() + d.lost(), writers * each);
}

TEST_F(Report, AHostileHeadCostsEventsAndNothingElse) {
  drain d(*reader_);
  unsigned n = 0;
  const auto count = [&](std::uint64_t, const abi::event&) { ++n; };
  for (const std::uint64_t head : {UINT64_MAX, std::uint64_t{1} << 63, std::uint64_t{5}, std::uint64_t{0}, UINT64_MAX - 1}) {
    page_->ring_head.store(head);
    for (int i = 0; i < 3; ++i) d.run(monotonic_ns(), count);
  }
  EXPECT_LE(n, 15 * abi::ring_slots);
}

TEST_F(Report, RandomBytesAreSurvived) {
  std::mt19937_64 random(7);
  drain d(*reader_);
  processes attached(*reader_);
  for (int round = 0; round < 20; ++round) {
    auto* words = reinterpret_cast<std::uint64_t*>(page_);
    for (std::size_t i = 8; i < sizeof(abi::report_page) / 8; ++i) words[i] = round % 4 == 3 ? UINT64_MAX : random();
    d.run(monotonic_ns() + drain::patience_ns * static_cast<unsigned>(round), [](std::uint64_t, const abi::event&) {});
    for (unsigned slot = 0; slot < abi::rule_max + 2; ++slot) reader_->counters(slot);
    for (const reported_breaker& b : reader_->breakers()) EXPECT_LE(b.name.size(), sizeof abi::breaker_slot::name);
    for (const attached_process& p : reader_->attached()) {
      EXPECT_LE(p.comm.size(), 16u);
      EXPECT_LE(p.executable.size(), 128u);
      EXPECT_FALSE(processes::describe(p).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).empty());
    }
    EXPECT_TRUE(attached.living().empty());
  }
}

TEST_F(Report, ATruncatedPageReadsAsZeroAndDoesNotGrow) {
  page_->ring_head.store(10);
  page_->rules[3].matched.store(5);
  EXPECT_EQ(reader_->counters(3).matched, 5u);
  ASSERT_EQ(truncate(where_.file(abi::report_page_name).c_str(), 50), 0);
  EXPECT_EQ(reader_->counters(3).matched, 0u);
  EXPECT_EQ(reader_->ring_head(), 0u);
  EXPECT_TRUE(reader_->attached().empty());
  reader_->give_out(3, 1);
  EXPECT_EQ(std::filesystem::file_size(where_.file(abi::report_page_name)), 50u);
}

TEST_F(Report, CountersOfASlotBeginAtZeroForTheNextRule) {
  page_->rules[9].rule.store(1);
  page_->rules[9].fired.store(77);
  page_->rules[9].shared.fired.store(3);
  reader_->give_out(9, 42);
  EXPECT_EQ(page_->rules[9].fired.load(), 0u);
  EXPECT_EQ(page_->rules[9].shared.fired.load(), 0u);
  EXPECT_EQ(reader_->counters(9).rule, 42u);
}

TEST_F(Report, DeadProcessesLoseTheirSlots) {
  processes attached(*reader_);
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  abi::attach_slot& own = page_->attached[0];
  own.start_ticks = start_ticks_of(getpid());
  std::strcpy(own.executable, "/usr/bin/self");
  own.pid.store(getpid());
  abi::attach_slot& other = page_->attached[1];
  other.start_ticks = start_ticks_of(child);
  other.pid.store(child);
  page_->attached[2].start_ticks = 1;  // a reused pid
  page_->attached[2].pid.store(getpid());
  EXPECT_EQ(attached.living().size(), 2u);
  EXPECT_TRUE(attached.attached(child));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  attached.reap(monotonic_ns());
  EXPECT_EQ(attached.living().size(), 1u);
  EXPECT_EQ(own.pid.load(), getpid());
  EXPECT_EQ(other.pid.load(), 0);
  EXPECT_EQ(page_->attached[2].pid.load(), 0);
}

TEST_F(Report, ASlotWhoseFillerDiedIsFreedAfterAWhile) {
  processes attached(*reader_);
  page_->attached[5].pid.store(-1);
  attached.reap(1);
  attached.reap(2);
  EXPECT_EQ(page_->attached[5].pid.load(), -1);
  attached.reap(20'000'000'000);
  EXPECT_EQ(page_->attached[5].pid.load(), 0);
}

}  // namespace
}  // namespace chaos::daemon
