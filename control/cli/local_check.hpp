// The daemon's own grammar and compiler, run here first: bad input is refused before a daemon is started for it.
#pragma once
#include <span>

#include "control/rules/rule_spec.hpp"

namespace chaos::cli {

rules::result<rules::done> check_rules(std::span<const rules::rule_spec> specs, bool of_a_run = false);

}  // namespace chaos::cli
