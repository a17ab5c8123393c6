#include "local_check.hpp"

#include "control/rules/compile.hpp"

namespace chaos::cli {

rules::result<rules::done> check_rules(std::span<const rules::rule_spec> specs, bool of_a_run) {
  rules::compile_setting setting;
  setting.id = setting.slot = 1;  // any will do
  setting.run = of_a_run;
  for (const auto& spec : specs)
    if (const auto compiled = rules::compile(spec, setting); !compiled) return compiled.error();
  return rules::done{};
}

}  // namespace chaos::cli
