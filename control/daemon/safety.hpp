// What may be put in force at all: the switch `enabled`, the stop file, dry run, and the blast radius of experiments.
#pragma once
#include <string>
#include <vector>

#include "control/rules/rule_spec.hpp"
#include "settings.hpp"

namespace chaos::daemon {

class safety {
 public:
  explicit safety(const settings& how) : how_(how) {}

  bool stopped() const;  // the stop file is there
  // `enabled` and the stop file: may anything begin?
  rules::result<rules::done> may_begin() const;
  // The rules of an experiment: may they reach as far as they ask for?
  rules::result<rules::done> within_radius(const std::vector<rules::rule_spec>& specs) const;

 private:
  const settings& how_;
};

}  // namespace chaos::daemon
