// The reports that chaosd keeps: whose they are, how large they may be, and what becomes of files that nobody asked for.
#include "control/daemon/experiment_reports.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support.hpp"

namespace chaos::daemon {
namespace {

using nlohmann::json;

std::string of_size(std::size_t bytes) { return "{\"x\":\"" + std::string(bytes - 8, 'x') + "\"}"; }

TEST(ExperimentReports, ComeBackAsTheyWereHandedIn) {
  const testing_support::temporary_folder folder;
  const experiment_reports reports(folder.path());
  const json document{{"name", "Überlast"}, {"probes", json::array({json{{"p50_ns", 1}}})}};
  ASSERT_EQ(reports.save(3, document.dump(-1, ' ', true)), "");
  std::string read;
  EXPECT_EQ(reports.load(3, read), "");
  EXPECT_EQ(json::parse(read), document);
  ASSERT_EQ(reports.save(3, document.dump(1)), "");
  EXPECT_EQ(reports.load(3, read), "");
  EXPECT_EQ(json::parse(read), document);
  EXPECT_EQ(read.find('\n'), std::string::npos) << "a reply is one line";
  EXPECT_NE(reports.load(4, read).find("gone"), std::string::npos);
}

TEST(ExperimentReports, AreJsonObjectsOfABoundedSize) {
  const testing_support::temporary_folder folder;
  const experiment_reports reports(folder.path());
  for (const std::string text : {"{", "[]", "null", "{}x", "\"{}\""}) EXPECT_NE(reports.save(1, text).find("no JSON object"), std::string::npos) << text;
  EXPECT_NE(reports.save(1, of_size(experiment_reports::bytes_max + 1)).find("larger than"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_EQ(reports.save(1, of_size(experiment_reports::bytes_max)), "");
}

TEST(ExperimentReports, TheOldestMakeRoom) {
  const testing_support::temporary_folder folder;
  const experiment_reports reports(folder.path());
  constexpr std::uint64_t fit = experiment_reports::together_bytes_max / experiment_reports::bytes_max;
  std::set<std::uint64_t> ids;
  for (std::uint64_t id = 1; id <= fit + 3; ++id) {
    ids.insert(id);
    ASSERT_EQ(reports.save(id, of_size(experiment_reports::bytes_max - 1)), "");  // and a newline
    const auto kept = reports.keep(ids);
    EXPECT_EQ(kept.size(), std::min(id, fit));
    EXPECT_EQ(*kept.rbegin(), id);
  }
  std::string read;
  EXPECT_NE(reports.load(3, read), "");
  EXPECT_EQ(reports.load(4, read), "");
}

TEST(ExperimentReports, GoWithTheirExperiments) {
  const testing_support::temporary_folder folder;
  const experiment_reports reports(folder.path());
  for (const std::uint64_t id : {1, 2, 3}) ASSERT_EQ(reports.save(id, "{}"), "");
  const auto there = [&](const std::string& name) { return std::filesystem::exists(folder.path() + "/" + name); };
  for (const char* other : {"experiment-.json", "experiment-x.json", "experiment-2x.json", "experiments.json", "experiment-1.jsonl", "experiment--1.json"}) std::ofstream(folder.path() + "/" + other) << "{}";
  std::ofstream(folder.path() + "/experiment-2.json.new") << "{ half of it";  // chaosd was killed while it wrote
  EXPECT_EQ(reports.keep({2, 3, 9}), (std::set<std::uint64_t>{2, 3}));
  EXPECT_FALSE(there("experiment-1.json"));
  EXPECT_FALSE(there("experiment-2.json.new"));
  EXPECT_TRUE(there("experiment-2.json"));
  for (const char* other : {"experiment-.json", "experiment-x.json", "experiment-2x.json", "experiments.json", "experiment-1.jsonl", "experiment--1.json"}) EXPECT_TRUE(there(other)) << other;
}

TEST(ExperimentReports, WhatCanNotBeWrittenIsSaid) {
  const testing_support::temporary_folder folder;
  EXPECT_NE(experiment_reports(folder.path() + "/none").save(1, "{}").find("could not be written"), std::string::npos);
  EXPECT_TRUE(experiment_reports(folder.path() + "/none").keep({1}).empty());
}

TEST(ExperimentReports, ADamagedOneIsKeptAside) {
  const testing_support::temporary_folder folder;
  const experiment_reports reports(folder.path());
  ASSERT_EQ(reports.save(1, "{}"), "");
  std::ofstream(folder.path() + "/experiment-1.json", std::ios::trunc) << "{";
  std::string read;
  EXPECT_NE(reports.load(1, read).find("kept as"), std::string::npos);
  EXPECT_TRUE(reports.keep({1}).empty());
}

}  // namespace
}  // namespace chaos::daemon
