// What a schedule does next: a pure function of plan, seed and number. No clock, no state: the seventh injection of a seed is
// always the same, whatever came before it.
#pragma once
#include "plan.hpp"

namespace chaos::schedule {

struct injection {
  std::uint64_t number = 0;  // from 1
  const scenario* what = nullptr;
  const target* where = nullptr;        // null: the plan has no targets
  std::vector<std::string> rules;       // with the numbers that were drawn
  std::vector<rules::rule_spec> specs;  // the same, ready to be put in force; each with a seed of its own
  std::string command, undo;
  nanoseconds recovery{0};
  nanoseconds interval{0};     // from the beginning of this one to the beginning of the next
  double delay_seconds = 0;    // of the first rule whose value is a time; for the state file
};

std::uint64_t fresh_seed();
injection draw(const plan& p, std::uint64_t seed, std::uint64_t number);

}  // namespace chaos::schedule
