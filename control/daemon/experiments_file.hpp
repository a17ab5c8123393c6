// experiments.json: the table of experiments, for the daemon after this one. What ran when its daemon went away has no end
// of its own there; experiments::restore gives it one.
#pragma once
#include <list>

#include "experiments.hpp"
#include "whole_file.hpp"

namespace chaos::daemon {

class experiments_file {
 public:
  explicit experiments_file(std::string path) : file_(std::move(path)) {}

  std::string save(const experiments& table, std::uint64_t now_ns) const;  // "", or what went wrong

  // What was saved, oldest first, or nothing. A file that can not be read is kept aside; `trouble` then says so.
  saved_experiments load(std::string& trouble) const;

 private:
  whole_file file_;
};

}  // namespace chaos::daemon
