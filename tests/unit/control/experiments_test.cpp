// The table of experiments: its bounds, and who is found in it.
#include "control/daemon/experiments.hpp"

#include <gtest/gtest.h>

namespace chaos::daemon {
namespace {

experiment made(std::string name, std::int32_t pid = 0, client_id runner = 0) {
  experiment e;
  e.name = std::move(name);
  e.by.pid = pid;
  e.runner = runner;
  e.deadline_ns = 1000;
  return e;
}

TEST(Experiments, AreAsManyAsMayRun) {
  experiments table(2);
  experiment* const first = *table.begin(made("a"));
  ASSERT_TRUE(table.begin(made("b")));
  const auto third = table.begin(made("c"));
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, rules::problem_code::too_many);
  EXPECT_NE(third.error().message.find("a, b"), std::string::npos);
  table.end(*first, "held", "", 5);
  EXPECT_TRUE(table.begin(made("c")));
}

TEST(Experiments, AreFoundByIdThenByNameTheLiveOneFirst) {
  experiments table(5);
  table.end(**table.begin(made("x")), "held", "", 1);
  ASSERT_TRUE(table.begin(made("x")));
  EXPECT_EQ((*table.find("x"))->id, 2u);
  EXPECT_EQ((*table.find("1"))->id, 1u);
  table.end(**table.find("2"), "failed", "", 2);
  EXPECT_EQ((*table.find("x"))->id, 2u) << "the latest";
  EXPECT_EQ(table.find("y").error().code, rules::problem_code::not_found);
}

TEST(Experiments, OfARunnerAreLiveOnes) {
  experiments table(5);
  ASSERT_TRUE(table.begin(made("x", 77, 3)));
  EXPECT_EQ(table.of_runner(3)->name, "x");
  EXPECT_EQ(table.of_pid(77)->name, "x");
  EXPECT_EQ(table.of_pid(0), nullptr);
  table.end(*table.of_runner(3), "held", "", 1);
  EXPECT_EQ(table.of_runner(3), nullptr);
  EXPECT_EQ(table.of_pid(77), nullptr);
}

TEST(Experiments, RememberABoundedNumber) {
  experiments table(5);
  ASSERT_TRUE(table.begin(made("stays")));
  for (unsigned i = 0; i < 1000; ++i) table.end(**table.begin(made("e", 0, i + 10)), "v" + std::to_string(i), "", i);
  EXPECT_EQ(table.all().size(), experiments::remember_max + 1);
  EXPECT_EQ(table.all().front().name, "stays");
  EXPECT_EQ(table.all().back().verdict, "v999");
  EXPECT_EQ(table.begun(), 1001u);
  EXPECT_EQ(table.verdicts().size(), experiments::verdicts_max + 1);
  EXPECT_EQ(table.verdicts().at("other"), 1000 - experiments::verdicts_max);
}

TEST(Experiments, TheNextDeadlineIsThatOfOneThatWasNotToldToStop) {
  experiments table(5);
  EXPECT_EQ(table.next_deadline_ns(), 0u);
  experiment soon = made("soon"), late = made("late");
  soon.deadline_ns = 10;
  late.deadline_ns = 20;
  experiment* const told = *table.begin(std::move(soon));
  ASSERT_TRUE(table.begin(std::move(late)));
  EXPECT_EQ(table.next_deadline_ns(), 10u);
  told->state = experiment_state::stopping;
  EXPECT_EQ(table.next_deadline_ns(), 20u);
}

}  // namespace
}  // namespace chaos::daemon
