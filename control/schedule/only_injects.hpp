// A schedule that was sent by somebody who may put rules in force, and no more: it may inject rules and look at health. What runs
// commands, writes files, calls hooks or reads the environment must be a file that the machine's owner has put there.
#pragma once
#include "plan.hpp"

namespace chaos::schedule {

rules::result<plan> plan_that_only_injects(std::string_view text);  // else what is wrong or does more, with its line

}  // namespace chaos::schedule
