// The audit log under requests that are made to be long: each is there, none pushes the others out.
#include "control/daemon/audit.hpp"

#include <gtest/gtest.h>

#include "support.hpp"

namespace chaos::daemon {
namespace {

using nlohmann::json;

TEST(Audit, NoRequestPushesTheOthersOut) {
  const testing_support::temporary_folder folder;
  const std::string path = folder.path() + "/audit.jsonl";
  audit log(path, false);
  const std::string megabyte(1'000'000, 'x');
  json many = json::array(), keys = json::object(), deep = json::array();
  for (int i = 0; i < 100'000; ++i) many.push_back(i % 2 ? json(i) : json("y"));
  for (int i = 0; i < 50'000; ++i) keys["key" + std::to_string(i)] = nullptr;
  for (int i = 0; i < 30; ++i) deep = json::array({many, std::move(deep)});
  const std::vector<json> requests{{{"words", many}}, {{"rule", keys}}, {{megabyte, 1}}, {{"name", megabyte}}, {{"a", deep}}, many, {{"action", "begin"}, {"name", "plain"}}};
  const rules::problem refused{rules::problem_code::bad_value, "unknown '" + megabyte + "'", megabyte, {}};
  for (const json& r : requests) log.write({1, 2, ""}, "set", r, &refused);
  std::istringstream text(testing_support::read_file(path));
  std::vector<json> lines;
  for (std::string line; std::getline(text, line);) {
    EXPECT_LT(line.size(), 3 * audit::request_max);
    lines.push_back(json::parse(line));
  }
  ASSERT_EQ(lines.size(), requests.size());
  EXPECT_EQ(lines.back()["request"], requests.back());
  EXPECT_EQ(lines[0]["request"]["words"][0], "y");
  EXPECT_NE(lines[0]["request"]["words"].back().get<std::string>().find(" more)"), std::string::npos);
  EXPECT_NE(lines[1]["request"]["rule"]["…"].get<std::string>().find(" more)"), std::string::npos);
  EXPECT_NE(lines[3]["request"]["name"].get<std::string>().find("(1000000 bytes)"), std::string::npos);
}

}  // namespace
}  // namespace chaos::daemon
