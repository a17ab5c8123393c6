// Man pages from the tables: chaos-ctl(1), and chaos-ctl-COMMAND(1) for each command.
#include <cstdint>
#include <cstdio>

#include "chaos/abi/effects.hpp"
#include "help.hpp"

namespace chaos::cli {

namespace {

// Text that troff shows as it is: its own signs protected, what is not ASCII as \[uXXXX].
std::string plain(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0xC0) {
      const int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
      std::uint32_t code = c & (0x3F >> more);
      for (int k = 0; k < more && i + 1 < text.size(); ++k) code = code << 6 | (static_cast<unsigned char>(text[++i]) & 0x3F);
      char escape[16];
      std::snprintf(escape, sizeof escape, "\\[u%04X]", code);
      out += escape;
    } else if (c == '\\') out += "\\e";
    else if (c == '-') out += "\\-";
    else if (c == '\'') out += "\\(aq";
    else if (c == '`') out += "\\(ga";
    else if (c == '^') out += "\\(ha";
    else if (c == '~') out += "\\(ti";
    else out += text[i];
  }
  if (!out.empty() && out[0] == '.') out.insert(0, "\\&");
  return out;
}

std::string head(const std::string& name, const std::string& summary) {
  return ".TH " + plain(name) + " 1 \"\" \"libchaos " CHAOS_VERSION "\" \"User Commands\"\n.SH NAME\n" + plain(name) + " \\- " + plain(summary) + "\n";
}

std::string entry(const std::string& term, const std::string& text) { return ".TP\n.B " + plain(term) + "\n" + plain(text) + "\n"; }

std::string pairs(const char* title, const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string out = std::string(".SH ") + title + "\n";
  for (const auto& [a, b] : rows) out += entry(a, b);
  return out;
}

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
  std::string out = head("chaos-ctl", "put faults into running programs and take them out again");
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
  std::string out = head(std::string("chaos-ctl-") + c.name, c.summary);
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
