// chaos-ctl resume: paused rules are in force again.
#include "../rule_choice.hpp"

namespace chaos::cli::commands {

int resume(const invocation& from) { return act_on_rules(from, protocol::command::resume, "resumed"); }

}  // namespace chaos::cli::commands
