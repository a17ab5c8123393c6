// chaos-ctl: takes the command line apart by the tables and calls the command.
#include <string>
#include <vector>

#include "control/protocol/standard_streams.hpp"
#include "help.hpp"
#include "invocation.hpp"
#include "output.hpp"

// The shim looks for this name and stays dormant where it finds it: an exported LD_PRELOAD must not turn the controller
// into its own victim.
extern "C" __attribute__((visibility("default"), used)) const char chaos_controller_marker[] = "chaos-ctl";

int main(int argc, char** argv) {
  using namespace chaos::cli;
  chaos::protocol::occupy_standard_streams();
  const std::vector<std::string> typed(argv + (argc > 0 ? 1 : 0), argv + argc);
  invocation what;
  if (const auto parsed = parse_command_line(typed, what); !parsed) return report(parsed.error(), what);
  if (what.help) {
    print(what.command && !what.command->hidden() ? help_of(*what.command) : help());
    return exits::done;
  }
  if (what.version) {
    print(std::string("chaos-ctl ") + CHAOS_VERSION + "\n");
    return exits::done;
  }
  return what.command->act(what);
}
