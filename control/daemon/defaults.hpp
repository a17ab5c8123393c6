// What the rules of experiments leave unsaid, and chaosd was told to fill in: default_latency and default_error_rate. Rules
// that somebody sets by hand say what they mean.
#pragma once
#include "control/rules/rule_spec.hpp"
#include "settings.hpp"

namespace chaos::daemon {

void fill_in(rules::rule_spec& of_an_experiment, const settings& how);

}  // namespace chaos::daemon
