// keys.def is the list of what may stand in a file: every row is read, every needed one is missed when it is not there.
#include "control/experiment/keys.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "control/rules/values.hpp"

namespace {

using namespace chaos::experiment;

std::string file_with(const std::string& section, const std::string& kind, const std::string& key, const std::string& value) {
  std::string text = section == "experiment" ? "" : "[experiment]\nname = n\nhypothesis = h\n";
  text += "[" + section + (section == "experiment" ? "" : " x") + "]\n";
  if (!kind.empty() && key != "kind") text += "kind = " + kind + "\n";
  return text + key + " = " + value + "\n";
}

// The kinds that a row is for; one "" for sections that have none.
std::vector<std::string> kinds_of(const key_info& k) {
  const std::string section = k.section;
  if (section != "probe" && section != "load") return {""};
  if (*k.kinds) return chaos::rules::split(k.kinds, ' ');
  return section == "probe" ? std::vector<std::string>{"http", "tcp", "command", "redis", "log", "stat", "breaker", "timeline"} : std::vector<std::string>{"http", "redis", "command"};
}

TEST(Keys, EveryRowIsRead) {
  for (const auto& k : all_keys())
    for (const auto& kind : kinds_of(k)) {
      const auto p = parse_plan(file_with(k.section, kind, k.name, "\x01 no such value"), process_environment());
      ASSERT_FALSE(p);
      EXPECT_EQ(p.error().message.find("has no reader"), std::string::npos) << k.section << " " << kind << " " << k.name << ": " << p.error().message;
      EXPECT_EQ(p.error().message.find("unknown key"), std::string::npos) << k.section << " " << kind << " " << k.name << ": " << p.error().message;
    }
}

TEST(Keys, ANeededOneIsMissed) {
  for (const auto& k : all_keys()) {
    if (!k.needed() || std::string(k.name) == "kind") continue;
    for (const auto& kind : kinds_of(k)) {
      std::string text = file_with(k.section, kind, "nothing", "1");
      text.erase(text.find("nothing"));
      for (const auto& other : all_keys())  // the other needed ones are there
        if (other.needed() && std::string(other.section) == k.section && other.of_kind(kind) && std::string(other.name) != k.name && std::string(other.name) != "kind")
          text += std::string(other.name) + " = cpu\n";
      const auto p = parse_plan(text, process_environment());
      ASSERT_FALSE(p) << text;
      EXPECT_EQ(p.error().word, k.name) << text << p.error().message;
      EXPECT_NE(p.error().message.find(std::string(k.name) + " is missing"), std::string::npos) << p.error().message;
    }
  }
}

TEST(Keys, AnUnknownOneIsAnsweredWithTheNearestOfItsKind) {
  for (const auto& k : all_keys()) {
    const std::string section = k.section, kind = kinds_of(k)[0], wrong = std::string(k.name) + "q";
    if (section == "fault") continue;  // its other keys are those of rules
    const auto p = parse_plan(file_with(section, kind, wrong, "1"), process_environment());
    ASSERT_FALSE(p);
    if (std::string(k.name) == "kind") continue;
    EXPECT_EQ(p.error().word, wrong) << p.error().message;
    EXPECT_NE(p.error().message.find("did you mean '" + std::string(k.name) + "'"), std::string::npos) << p.error().message;
    EXPECT_EQ(p.error().expected, key_names(section, kind));
  }
}

TEST(Keys, NoneStandsTwice) {
  for (const char* section : {"experiment", "probe", "load", "fault", "stress", "process"})
    for (const auto& kind : {"", "http", "tcp", "command", "redis", "log", "stat", "breaker", "timeline"}) {
      const auto names = key_names(section, kind);
      EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size()) << section << " " << kind;
    }
}

}  // namespace
