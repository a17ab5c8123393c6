// The report of an experiment on a terminal, and the line that shows how it goes meanwhile.
#pragma once
#include "control/experiment/runner.hpp"
#include "output.hpp"

namespace chaos::cli {

std::string experiment_text(const json& report);

// One line on standard error that is written over and over: only on a terminal; elsewhere every phase is a line.
class progress_line {
 public:
  explicit progress_line(const experiment::plan& p);
  ~progress_line() { clear(); }
  void phase(experiment::phase what, const std::string& length);
  void show(const experiment::live& now);
  void clear();

 private:
  const experiment::plan& plan_;
  const bool terminal_;
  bool shown_ = false;
};

}  // namespace chaos::cli
