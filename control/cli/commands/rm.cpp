// chaos-ctl rm: ends rules.
#include "../rule_choice.hpp"

namespace chaos::cli::commands {

int rm(const invocation& from) { return act_on_rules(from, protocol::command::rm, "removed"); }

}  // namespace chaos::cli::commands
