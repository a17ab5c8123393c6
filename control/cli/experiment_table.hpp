// chaos-ctl experiment list, status, stop, pause, resume: chaosd's table of experiments, looked at and acted upon.
#pragma once
#include <string_view>

#include "invocation.hpp"

namespace chaos::cli {

bool is_experiment_table_action(std::string_view word);
int experiment_table(const invocation& from);  // its first word is one of them

}  // namespace chaos::cli
