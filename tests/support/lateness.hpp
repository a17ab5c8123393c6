// Of the cases that failed, those in which something came too late and nothing else was wrong: what they show is an upper bound of
// time, and whoever has other work on the machine may ask again.
#pragma once
#include <gtest/gtest.h>

#include <regex>
#include <string>

namespace chaos::testing_support {

class lateness : public testing::EmptyTestEventListener {
 public:
  // A filter of those cases, empty unless they are all that failed.
  std::string cases() const { return wrong_ ? "" : late_; }

 private:
  static bool is_late(const std::string& message) {
    static const std::regex bound("Expected: \\([^\\n]*(ms|took)\\b[^\\n]*\\) <=? \\(");
    return message.find("ms is later than") != std::string::npos || std::regex_search(message, bound);
  }
  void OnTestStart(const testing::TestInfo&) override { inside_ = true; }
  void OnTestPartResult(const testing::TestPartResult& r) override {
    if (r.failed() && !(inside_ && is_late(r.message()))) wrong_ = true;
  }
  void OnTestEnd(const testing::TestInfo& t) override {
    inside_ = false;
    if (t.result()->Failed()) late_ += (late_.empty() ? "" : ":") + std::string(t.test_suite_name()) + "." + t.name();
  }

  std::string late_;
  bool inside_ = false, wrong_ = false;
};

}  // namespace chaos::testing_support
