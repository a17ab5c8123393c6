// Man pages from the tables: chaos-ctl(1), and chaos-ctl-COMMAND(1) for each command.
#include "chaos/abi/effects.hpp"
#include "control/manual/troff.hpp"
#include "help.hpp"

namespace chaos::cli {

namespace {

using manual::head;
using manual::pairs;
using manual::plain;

std::string option_entries(const std::vector<command_option>& options) {
  std::string out;
  for (const auto& o : options) {
    const std::string only = kinds_taking(o.flag);
    out += ".TP\n\\fB" + plain(o.flag) + "\\fR" + (o.takes_value() ? " \\fI" + plain(o.value_help) + "\\fR" : "") + "\n" + plain(o.help) +
           (only.empty() || !*o.command ? "" : " (" + only + ")") + "\n";
  }
  return out;
}

std::string kinds() {
  std::string out = ".SH KINDS OF FAULTS\n";
  for (const auto& e : abi::effect_table)
    out += ".TP\n\\fB" + plain(e.name) + "\\fR" + (*e.value_help ? " \\fI" + plain(e.value_help) + "\\fR" : "") + "\n" + plain(e.summary) + "\n";
  return out;
}

std::string main_page() {
  std::string out = head("chaos-ctl", 1, "put faults into running programs and take them out again");
  out += ".SH SYNOPSIS\n.B chaos\\-ctl\n.I COMMAND\n[\\fIARGUMENT\\fR]... [\\fIOPTION\\fR]...\n.SH DESCRIPTION\n"
         "A program that was started with\n.B chaos\\-ctl run\nor with libchaos.so in LD_PRELOAD makes its calls to libc through libchaos. Rules that\n"
         ".B chaos\\-ctl set\nputs in force delay, fail or bend those calls until they are removed or their time is up. The program is not restarted.\n.SH COMMANDS\n";
  for (const auto& c : all_commands())
    if (!c.hidden()) out += ".TP\n\\fB" + plain(c.name) + "\\fR" + (*c.arguments ? " " : "") + plain(c.arguments) + "\n" + plain(c.summary) + ". See \\fBchaos\\-ctl\\-" + plain(c.name) + "\\fR(1).\n";
  out += ".SH OPTIONS\nBefore or after the command.\n" + option_entries({common_options().begin(), common_options().end()});
  out += kinds() + pairs("TARGETS", target_forms()) + pairs("EXIT STATUS", exit_statuses()) + pairs("ENVIRONMENT", environment_names());
  return out + ".SH SEE ALSO\n\\fBchaosd\\fR(8), \\fBld.so\\fR(8), \\fBstrace\\fR(1), \\fBtc\\-netem\\fR(8)\n";
}

std::string page_of(const command_info& c) {
  std::string out = head(std::string("chaos-ctl-") + c.name, 1, c.summary);
  out += std::string(".SH SYNOPSIS\n.B chaos\\-ctl ") + plain(c.name) + "\n" + (*c.arguments ? plain(c.arguments) + "\n" : "");
  out += ".SH DESCRIPTION\n" + plain(c.description) + "\n";
  if (c.daemon == policy::starts) out += "A daemon is started when none runs for the session.\n";
  if (c.daemon == policy::needs) out += "Exits 3 when no daemon runs for the session.\n";
  out += ".SH OPTIONS\n" + option_entries(options_of(c));
  if (takes_rule(c)) out += kinds() + pairs("TARGETS", target_forms());
  if (std::string_view(c.name) == "stress") out += pairs("STRESSORS", stressor_forms());
  bool first = true;
  for (const auto& e : command_examples())
    if (std::string_view(e.command) == c.name) {
      out += std::string(first ? ".SH EXAMPLES\n.nf\n" : "") + plain(e.line) + "\n";
      first = false;
    }
  if (!first) out += ".fi\n";
  return out + pairs("EXIT STATUS", exit_statuses()) + ".SH SEE ALSO\n\\fBchaos\\-ctl\\fR(1)\n";
}

}  // namespace

std::vector<std::pair<std::string, std::string>> man_pages() {
  std::vector<std::pair<std::string, std::string>> pages{{"chaos-ctl.1", main_page()}};
  for (const auto& c : all_commands())
    if (!c.hidden()) pages.emplace_back(std::string("chaos-ctl-") + c.name + ".1", page_of(c));
  return pages;
}

}  // namespace chaos::cli
