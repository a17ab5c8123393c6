// The sections of a plan, one reader each.
#pragma once
#include <variant>

#include "scan.hpp"

namespace chaos::experiment {

using load_plan = std::variant<probe_plan, command_load>;

rules::result<probe_plan> read_probe(const section& s);
rules::result<load_plan> read_load(const section& s);
rules::result<fault_plan> read_fault(const section& s, const scanned& all);
rules::result<stress_plan> read_stress(const section& s);
rules::result<process_plan> read_process(const section& s);

}  // namespace chaos::experiment
