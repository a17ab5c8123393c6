// chaos-ctl experiment list, status, stop, pause, resume: chaosd's table of experiments, looked at and acted upon.
#pragma once
#include "invocation.hpp"

namespace chaos::cli {

int experiment_table(const invocation& from);  // its first word is one of them

}  // namespace chaos::cli
