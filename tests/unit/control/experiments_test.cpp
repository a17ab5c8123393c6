// The table of experiments: its bounds, who is found in it, and what the next daemon reads of it.
#include "control/daemon/experiments_file.hpp"

#include <gtest/gtest.h>

#include "support.hpp"
#include "tests/support/parameter_names.hpp"

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

constexpr std::uint64_t second = 1'000'000'000;

TEST(Experiments, ComeBackEndedInTheNextDaemon) {
  const testing_support::temporary_folder folder;
  const experiments_file file(folder.path() + "/experiments.json");
  experiments before(5);
  experiment done = made("done", 7);
  done.by.remote = "127.0.0.1:5";
  done.figures = {{"shop", 1}};
  done.began_ns = 1 * second;
  done.began_unix_ms = 1234;
  experiment* const first = *before.begin(std::move(done));
  first->removed = {"slow"};
  before.end(*first, "held", "as expected", 4 * second);
  experiment runs = made("runs", 8), told = made("told", 9);
  runs.began_ns = told.began_ns = 5 * second;
  runs.phase = "observe";
  ASSERT_TRUE(before.begin(std::move(runs)));
  experiment* const stopping = *before.begin(std::move(told));
  stopping->state = experiment_state::stopping;
  stopping->stop_reason = "stopped: chaos-ctl stop";
  ASSERT_EQ(file.save(before, 7 * second), "");

  std::string trouble;
  experiments after(5);
  const auto aborted = after.restore(file.load(trouble));
  EXPECT_EQ(trouble, "");
  ASSERT_EQ(aborted.size(), 2u);
  const std::vector<experiment> all(after.all().begin(), after.all().end());
  ASSERT_EQ(all.size(), 3u);
  const auto told_of = [&](std::size_t i) { return experiments::describe(all[i], 99 * second); };
  EXPECT_EQ(told_of(0)["verdict"], "held");
  EXPECT_EQ(told_of(0)["reason"], "as expected");
  EXPECT_EQ(told_of(0)["elapsed_ms"], 3000);
  EXPECT_EQ(told_of(0)["began_unix_ms"], 1234);
  EXPECT_EQ(told_of(0)["remote"], "127.0.0.1:5");
  EXPECT_EQ(told_of(0)["figures"], (nlohmann::json{{"shop", 1}}));
  EXPECT_EQ(told_of(0)["removed"], (nlohmann::json{"slow"}));
  EXPECT_EQ(told_of(1)["verdict"], "aborted");
  EXPECT_EQ(told_of(1)["reason"], "chaosd went away in the phase observe");
  EXPECT_EQ(told_of(1)["elapsed_ms"], 2000);
  EXPECT_EQ(told_of(2)["reason"], "chaosd went away; it was being stopped: chaos-ctl stop");
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(told_of(i)["state"], "ended");
    EXPECT_EQ(told_of(i)["restored"], true);
  }
  EXPECT_EQ(after.of_pid(8), nullptr) << "its pid is somebody else's by now";
  EXPECT_EQ((*after.begin(made("new")))->id, 4u) << "ids go on";
}

TEST(Experiments, WhatIsRememberedOfEarlierDaemonsIsBounded) {
  const testing_support::temporary_folder folder;
  const experiments_file file(folder.path() + "/experiments.json");
  std::uint64_t names = 0;
  for (unsigned daemons = 0; daemons < 5; ++daemons) {
    std::string trouble;
    experiments table(5);
    table.restore(file.load(trouble));
    ASSERT_EQ(trouble, "");
    for (unsigned i = 0; i < 50; ++i) table.end(**table.begin(made("e" + std::to_string(names++))), "held", "", i);
    ASSERT_TRUE(table.begin(made("e" + std::to_string(names++))));
    ASSERT_EQ(file.save(table, 60), "");
    EXPECT_LE(table.all().size(), experiments::remember_max + 1);
    EXPECT_EQ(table.all().back().name, "e" + std::to_string(names - 1));
  }
}

TEST(Experiments, NoFileIsAnEmptyTable) {
  const testing_support::temporary_folder folder;
  std::string trouble;
  const auto saved = experiments_file(folder.path() + "/none.json").load(trouble);
  EXPECT_EQ(trouble, "");
  EXPECT_EQ(saved.begun + saved.table.size(), 0u);
}

TEST(Experiments, AFileThatCanNotBeWrittenIsSaid) {
  const testing_support::temporary_folder folder;
  EXPECT_NE(experiments_file(folder.path() + "/none/experiments.json").save(experiments(5), 0).find("could not be written"), std::string::npos);
}

constexpr const char* good_entry = R"({"id":1,"name":"a","title":"","hypothesis":"","uid":0,"pid":1,"remote":"","state":"ended","dry_run":false,"began_unix_ms":1,)"
                                   R"("elapsed_ms":1,"phase":"","figures":{},"verdict":"held","reason":"","removed":[]})";

std::string table_text(std::string entry, const char* from = "", const char* to = "") {
  if (*from) entry.replace(entry.find(from), std::strlen(from), to);
  return R"({"format":1,"begun":1,"experiments":[)" + entry + "]}";
}

TEST(Experiments, AFileThatIsDamagedIsKeptAsideAndSaid) {
  const testing_support::temporary_folder folder;
  const std::string path = folder.path() + "/experiments.json";
  std::string trouble;
  std::ofstream(path) << table_text(good_entry);
  EXPECT_EQ(experiments_file(path).load(trouble).table.size(), 1u) << trouble;
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"), std::string(R"({"format":2})"), std::string(R"({"format":1,"begun":-1,"experiments":[]})"),
                                  table_text(good_entry, R"("ended")", R"("done")"), table_text(good_entry, R"("elapsed_ms":1)", R"("elapsed_ms":1e300)"),
                                  table_text(good_entry, R"("elapsed_ms":1)", R"("elapsed_ms":18446744073709551615)"), table_text(good_entry, R"("figures":{})", R"("figures":[])"),
                                  table_text(good_entry, R"("removed":[])", R"("removed":[1])"), table_text(good_entry, R"("id":1)", R"("id":2)"),
                                  table_text(std::string(good_entry) + "," + good_entry)}) {
    std::ofstream(path, std::ios::trunc) << text;
    const auto saved = experiments_file(path).load(trouble);
    EXPECT_TRUE(saved.table.empty()) << text;
    EXPECT_NE(trouble.find("kept as"), std::string::npos) << text;
    EXPECT_FALSE(std::filesystem::exists(path)) << text;
  }
}

}  // namespace
}  // namespace chaos::daemon
