// The rule store: all or nothing, stable slots, exact ends.
#include "control/daemon/rule_store.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <optional>

#include "control/daemon/loop.hpp"
#include "support.hpp"

namespace chaos::daemon {
namespace {

using testing_support::temporary_folder;
using words = std::vector<std::string>;

rules::rule_spec spec(const words& w) { return *rules::spec_from_words(w); }

class Store : public testing::Test {
 protected:
  void SetUp() override {
    where_ = testing_support::session_in(folder_);
    page_.emplace(std::move(*page_writer::open(where_)));
    report_.emplace(std::move(*report_reader::open(where_)));
    state_.emplace(where_.file(abi::state_name));
    fresh();
  }
  void fresh() { store_.emplace(*page_, *report_, *state_, rules::default_for_ns); }
  const abi::rule_bank& bank() const { return page_->page().banks[page_->page().generation.load() % 2]; }
  std::uint32_t add(const words& w) {
    const auto ids = store_->add({spec(w)}, 0);
    EXPECT_TRUE(ids) << (ids ? "" : ids.error().message);
    return ids ? ids->front() : 0;
  }
  void fill_disk(bool full) {  // the temporary file can not be made where a folder is in its place
    const std::string in_the_way = where_.file(abi::state_name) + ".new";
    if (full) mkdir(in_the_way.c_str(), 0700);
    else rmdir(in_the_way.c_str());
  }

  temporary_folder folder_;
  protocol::session_location where_;
  std::optional<page_writer> page_;
  std::optional<report_reader> report_;
  std::optional<state_file> state_;
  std::optional<rule_store> store_;
};

TEST_F(Store, ARuleIsInThePageInIdOrderAndKeepsItsSlot) {
  const auto a = add({"latency", "a:1", "1ms"}), b = add({"loss", "a:1", "5%"}), c = add({"observe", "a:1"});
  EXPECT_LT(a, b);
  ASSERT_EQ(bank().count, 3u);
  EXPECT_EQ(bank().rules[2].id, c);
  const auto slot = bank().rules[2].slot;
  ASSERT_TRUE(store_->end({a}, "removed"));
  ASSERT_EQ(bank().count, 2u);
  EXPECT_EQ(bank().rules[1].id, c);
  EXPECT_EQ(bank().rules[1].slot, slot);
  EXPECT_EQ(bank().checksum, rules::checksum_of(bank().rules, bank().count, bank().text, bank().text_used));
}

TEST_F(Store, ANameThatExistsIsReplacedAndIdsAreNeverUsedAgain) {
  const auto first = add({"latency", "a:1", "1ms", "--name", "x"});
  const auto second = add({"loss", "b:1", "5%", "--name", "x"});
  EXPECT_NE(first, second);
  ASSERT_EQ(store_->live().size(), 1u);
  ASSERT_EQ(store_->ended().size(), 1u);
  EXPECT_EQ(store_->ended().front().reason, "replaced");
}

TEST_F(Store, AMadeUpNameNeverReplacesOneThatSomebodyGave) {
  add({"latency", "a:1", "1ms", "--name", "latency-2"});
  const auto second = add({"latency", "b:1", "1ms"});
  EXPECT_EQ(store_->live().size(), 2u);
  EXPECT_NE(store_->live().at(second).compiled.name, "latency-2");
}

TEST_F(Store, SeveralRulesAreAddedTogetherOrNotAtAll) {
  add({"latency", "a:1", "1ms"});
  const auto generation = page_->page().generation.load();
  EXPECT_FALSE(store_->add({spec({"latency", "b:1", "1ms"}), spec({"latency", "c:1", "7"})}, 0));
  EXPECT_FALSE(store_->add({spec({"latency", "b:1", "1ms", "--name", "n"}), spec({"latency", "c:1", "7ms", "--name", "n"})}, 0));
  EXPECT_EQ(store_->live().size(), 1u);
  EXPECT_EQ(page_->page().generation.load(), generation);
}

TEST_F(Store, TooManyRulesAreRefusedAndNothingChanges) {
  std::vector<rules::rule_spec> many(abi::rule_max, spec({"observe", "a:1"}));
  ASSERT_TRUE(store_->add(many, 0));
  const auto more = store_->add({spec({"observe", "b:1"})}, 0);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, rules::problem_code::too_many);
  EXPECT_EQ(more.error().message, "there are already 256 rules, and 256 is the most: remove one first");
  EXPECT_EQ(bank().count, abi::rule_max);
  ASSERT_TRUE(store_->end({store_->live().begin()->first}, "removed"));
  EXPECT_TRUE(store_->add({spec({"observe", "b:1"})}, 0));
}

TEST_F(Store, AFullDiskRefusesTheChange) {
  const auto a = add({"latency", "a:1", "1ms"});
  fill_disk(true);
  const auto more = store_->add({spec({"observe", "b:1"})}, 0);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, rules::problem_code::not_saved);
  EXPECT_FALSE(store_->set_paused({a}, true));
  EXPECT_FALSE(store_->end({a}, "removed"));
  EXPECT_EQ(bank().count, 1u);
  EXPECT_FALSE(store_->live().at(a).paused());
  store_->end_now([](const live_rule&) { return true; }, "stopped");
  EXPECT_EQ(bank().count, 0u) << "an emergency stop asks no disk";
  EXPECT_NE(store_->unsaved(), "");
  fill_disk(false);
  add({"latency", "a:1", "1ms"});
  EXPECT_EQ(store_->unsaved(), "");
}

TEST_F(Store, PausedRulesStayInThePageAndArmNothing) {
  const auto a = add({"latency", "a:1", "1ms"});
  ASSERT_TRUE(store_->set_paused({a}, true));
  EXPECT_EQ(bank().count, 1u);
  EXPECT_EQ(bank().rules[0].paused, 1);
  EXPECT_EQ(page_->page().armed_classes.load(), 0u);
  ASSERT_TRUE(store_->set_paused({a}, false));
  EXPECT_NE(page_->page().armed_classes.load(), 0u);
}

TEST_F(Store, RulesEndWhenTheirTimeIsUp) {
  add({"latency", "a:1", "1ms", "--for", "1s"});
  add({"latency", "b:1", "1ms", "--forever"});
  EXPECT_NEAR(static_cast<double>(store_->next_end_ns()), static_cast<double>(monotonic_ns() + 1'000'000'000), 5e8);
  store_->end_expired(monotonic_ns());
  EXPECT_EQ(store_->live().size(), 2u);
  store_->end_expired(monotonic_ns() + 2'000'000'000);
  EXPECT_EQ(store_->live().size(), 1u);
  EXPECT_EQ(store_->ended().front().reason, "expired");
  EXPECT_EQ(store_->describe(store_->ended().front())["state"], "ended");
  EXPECT_EQ(store_->next_end_ns(), 0u);
  store_->end_expired(monotonic_ns() + rule_store::remember_ns + 2'000'000'000);
  EXPECT_TRUE(store_->ended().empty()) << "ended rules are shown for an hour";
}

TEST_F(Store, AfterACrashRulesComeBackPausedWithTheRestOfTheirLife) {
  add({"latency", "a:1", "1ms", "--for", "60s", "--name", "x"});
  add({"loss", "a:1", "1%", "--forever"});
  fresh();  // the one before never said goodbye
  std::string trouble;
  const saved_state saved = state_->load(trouble);
  EXPECT_EQ(store_->restore(saved, 1, false), 2u);
  const live_rule& r = store_->live().begin()->second;
  EXPECT_TRUE(r.paused());
  EXPECT_EQ(r.compiled.name, "x");
  const auto described = store_->describe(r);
  EXPECT_EQ(described["restored"], true);
  EXPECT_LE(described["remaining_ms"], 60'000);
  EXPECT_GT(described["remaining_ms"], 50'000);
  EXPECT_EQ(page_->page().armed_classes.load(), 0u);
  const auto next = add({"observe", "a:1"});
  EXPECT_GT(next, 2u) << "ids go on";
}

TEST_F(Store, WithRestoreTheyAreInForce) {
  add({"latency", "a:1", "1ms"});
  fresh();
  std::string trouble;
  EXPECT_EQ(store_->restore(state_->load(trouble), 1, true), 1u);
  EXPECT_FALSE(store_->live().begin()->second.paused());
  EXPECT_NE(page_->page().armed_classes.load(), 0u);
}

TEST_F(Store, ExpiredWhileNobodyWasThereStaysEnded) {
  add({"latency", "a:1", "1ms"});
  std::string trouble;
  saved_state saved = state_->load(trouble);
  saved.rules[0].ends_at_ns = 1;
  fresh();
  EXPECT_EQ(store_->restore(saved, 1, true), 0u);
  EXPECT_EQ(store_->ended().size(), 1u);
}

TEST_F(Store, ACleanEndBringsNothingBack) {
  add({"latency", "a:1", "1ms"});
  ASSERT_TRUE(store_->save(true));
  fresh();
  std::string trouble;
  EXPECT_EQ(store_->restore(state_->load(trouble), 1, true), 0u);
}

TEST_F(Store, AddressesThatChangeAreCompiledAgainOnce) {
  add({"latency", "redis:6379", "1ms"});
  const rules::ip_address first{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1};
  store_->set_address("redis", {first});
  ASSERT_EQ(bank().rules[0].term_count, 2);
  EXPECT_EQ(bank().rules[0].terms[1].address[12], 10);
  const auto generation = page_->page().generation.load();
  store_->set_address("redis", {first});
  EXPECT_EQ(page_->page().generation.load(), generation) << "no change, no new generation";
}

TEST_F(Store, CountersOfAnEndedRuleStayWhenItsSlotIsGivenAway) {
  const auto a = add({"observe", "a:1"});
  const unsigned slot = store_->live().at(a).compiled.rule.slot;
  const int fd = open(where_.file(abi::report_page_name).c_str(), O_RDWR | O_CLOEXEC);
  const std::uint64_t seven = 7;
  ASSERT_EQ(pwrite(fd, &seven, 8, static_cast<off_t>(offsetof(abi::report_page, rules) + slot * sizeof(abi::rule_counters) +
                                                     offsetof(abi::rule_counters, matched))), 8);
  close(fd);
  ASSERT_TRUE(store_->end({a}, "removed"));
  for (unsigned i = 0; i < abi::rule_max; ++i) {
    const auto id = add({"observe", "b:1"});
    EXPECT_EQ(store_->describe(store_->live().at(id))["matched"], 0);
    ASSERT_TRUE(store_->end({id}, "removed"));
  }
  EXPECT_EQ(store_->describe(store_->ended().front())["matched"], 7);
}

}  // namespace
}  // namespace chaos::daemon
