// chaos-ctl pause: rules stay, nothing happens.
#include "../rule_choice.hpp"

namespace chaos::cli::commands {

int pause(const invocation& from) { return act_on_rules(from, protocol::command::pause, "paused"); }

}  // namespace chaos::cli::commands
