// Shell completion from the tables. Both scripts ask `chaos-ctl docs rules` (and `breakers`) for the ids and names that exist.
#include <algorithm>

#include "chaos/abi/breaker_commands.hpp"
#include "chaos/abi/classes.hpp"
#include "chaos/abi/effects.hpp"
#include "chaos/abi/errnos.def"
#include "chaos/abi/functions.hpp"
#include "control/rules/joined.hpp"
#include "control/rules/options.hpp"
#include "control/stress/plan.hpp"
#include "help.hpp"

namespace chaos::cli {

namespace {

using rules::spaced;

std::vector<std::string> kind_names() {
  std::vector<std::string> names;
  for (const auto& e : abi::effect_table) names.emplace_back(e.name);
  return names;
}

std::vector<std::string> breaker_actions() {
  std::vector<std::string> names{"list"};
  for (const auto& row : abi::breaker_command_table) names.emplace_back(row.name);
  return names;
}

std::vector<std::string> class_names() {
  std::vector<std::string> names;
  for (const auto& c : abi::class_table) names.emplace_back(c.name);
  return names;
}

std::vector<std::string> function_names() {
  std::vector<std::string> names = class_names();
  for (const auto& f : abi::function_table) names.emplace_back(f.name);
  return names;
}

std::vector<std::string> errno_names() {
#define X(name) #name,
  return {CHAOS_ERRNO_ROWS};
#undef X
}

constexpr const char* target_prefixes = "*: listen: unix: udp:// file: fd: malloc dns: env:";

std::vector<std::string> flags_with_values() {
  std::vector<std::string> flags;
  for (const auto& c : all_commands())
    for (const auto& o : options_of(c))
      if (o.takes_value() && std::ranges::find(flags, o.flag) == flags.end()) flags.emplace_back(o.flag);
  return flags;
}

std::string either(const std::vector<std::string>& words) {
  std::string s;
  for (const auto& w : words) s += (s.empty() ? "" : "|") + w;
  return s;
}

// The words that may stand after a flag; empty when they are open.
std::vector<std::string> values_of(const command_option& o) {
  const std::string flag = o.flag;
  if (flag == "--on") return function_names();
  if (const auto option = rules::find_option(flag)) {
    const auto choices = rules::choices_of(rules::info_of(*option).form);
    return {choices.begin(), choices.end()};
  }
  return {};
}

}  // namespace

std::string bash_completion() {
  std::string out = R"(# bash completion for chaos-ctl. Made by `chaos-ctl docs bash`: do not edit.
_chaos_ctl() {
  local cur prev command='' kind='' i word positional=0
  cur=${COMP_WORDS[COMP_CWORD]}
  prev=${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
      )" + either(flags_with_values()) + R"() ((i++)) ;;
      -*) ;;
      *)
        if [[ -z $command ]]; then command=$word
        else
          ((positional++))
          [[ -z $kind ]] && kind=$word
        fi ;;
    esac
  done
  case $prev in
)";
  std::vector<std::string> done;
  for (const auto& c : all_commands())
    for (const auto& o : options_of(c)) {
      if (std::ranges::find(done, o.flag) != done.end()) continue;
      done.emplace_back(o.flag);
      const auto values = values_of(o);
      if (!values.empty()) out += std::string("    ") + o.flag + ") COMPREPLY=($(compgen -W '" + spaced(values) + "' -- \"$cur\")); return ;;\n";
      else if (std::string_view(o.flag) == "--dir") out += "    --dir) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n";
      else if (std::string_view(o.flag) == "--rule") out += "    --rule) COMPREPLY=($(compgen -W \"$(chaos-ctl docs rules 2>/dev/null)\" -- \"$cur\")); return ;;\n";
      else if (std::string_view(o.flag) == "--user" || std::string_view(o.flag) == "--owner") out += std::string("    ") + o.flag + ") COMPREPLY=($(compgen -u -- \"$cur\")); return ;;\n";
    }
  out += "  esac\n  if [[ -z $command ]]; then\n    COMPREPLY=($(compgen -W '" + spaced(command_names());
  for (const auto& o : common_options()) out += std::string(" ") + o.flag;
  out += "' -- \"$cur\"))\n    return\n  fi\n  if [[ $cur == -* ]]; then\n    case $command in\n";
  for (const auto& c : all_commands()) {
    if (c.hidden()) continue;
    std::vector<std::string> flags;
    if (!takes_rule(c)) {
      for (const auto& o : options_of(c)) flags.emplace_back(o.flag);
      out += std::string("      ") + c.name + ") COMPREPLY=($(compgen -W '" + spaced(flags) + "' -- \"$cur\")) ;;\n";
      continue;
    }
    out += std::string("      ") + c.name + ")\n        case $kind in\n";
    for (unsigned k = 0; k < abi::effect_count; ++k) {
      flags = rules::flags_for(static_cast<abi::effect>(k));
      for (const auto& o : common_options()) flags.emplace_back(o.flag);
      out += std::string("          ") + abi::effect_table[k].name + ") COMPREPLY=($(compgen -W '" + spaced(flags) + "' -- \"$cur\")) ;;\n";
    }
    out += "        esac ;;\n";
  }
  out += "    esac\n    return\n  fi\n  case $command in\n";
  out += "    set)\n      case $positional in\n        0) COMPREPLY=($(compgen -W '" + spaced(kind_names()) + "' -- \"$cur\")) ;;\n";
  out += std::string("        1) compopt -o nospace 2>/dev/null; COMPREPLY=($(compgen -W '") + target_prefixes + "' -- \"$cur\")) ;;\n";
  out += "        2) [[ $kind == error ]] && COMPREPLY=($(compgen -W '" + spaced(errno_names()) + "' -- \"$cur\")) ;;\n      esac ;;\n";
  out += "    rm|pause|resume) COMPREPLY=($(compgen -W \"$(chaos-ctl docs rules 2>/dev/null) " + spaced(kind_names()) + "\" -- \"$cur\")) ;;\n";
  out += "    run|doctor)\n      if ((positional == 0)); then COMPREPLY=($(compgen -c -- \"$cur\")); else COMPREPLY=($(compgen -f -- \"$cur\")); fi ;;\n";
  out += "    apply|save) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n";
  out += "    effects) COMPREPLY=($(compgen -W '" + spaced(kind_names()) + "' -- \"$cur\")) ;;\n";
  out += "    hooks) COMPREPLY=($(compgen -W '" + spaced(function_names()) + "' -- \"$cur\")) ;;\n";
  out += "    daemon) COMPREPLY=($(compgen -W 'start stop status' -- \"$cur\")) ;;\n";
  out += "    stress) ((positional)) || COMPREPLY=($(compgen -W '" + spaced(stress::stressor_names()) + "' -- \"$cur\")) ;;\n";
  out += "    schedule) if ((positional)); then COMPREPLY=($(compgen -f -- \"$cur\")); else COMPREPLY=($(compgen -W 'run validate status stop' -- \"$cur\")); fi ;;\n";
  out += "    breaker)\n      case $positional in\n        0) COMPREPLY=($(compgen -W '" + spaced(breaker_actions()) + "' -- \"$cur\")) ;;\n";
  out += "        1) COMPREPLY=($(compgen -W \"$(chaos-ctl docs breakers 2>/dev/null)\" -- \"$cur\")) ;;\n      esac ;;\n  esac\n}\ncomplete -F _chaos_ctl chaos-ctl\n";
  return out;
}

std::string zsh_completion() {
  // In '…' of _arguments and _describe: no quote, and colons and brackets protected.
  const auto quoted = [](const std::string& text) {
    std::string s;
    for (const char c : text) {
      if (c == '\'') s += "'\\''";
      else if (c == ':' || c == '[' || c == ']' || c == '\\') s += std::string("\\") + c;
      else s += c;
    }
    return s;
  };
  const auto option_spec = [&](const command_option& o) {
    std::string spec = std::string("'*") + o.flag + '[' + quoted(o.help) + ']';
    if (o.takes_value()) {
      spec += ":" + quoted(o.value_help) + ":";
      const auto values = values_of(o);
      if (!values.empty()) spec += "(" + spaced(values) + ")";
      else if (std::string_view(o.flag) == "--dir") spec += "_files -/";
      else if (std::string_view(o.flag) == "--rule") spec += "_chaos_ctl_rules";
      else if (std::string_view(o.flag) == "--user" || std::string_view(o.flag) == "--owner") spec += "_users";
    }
    return spec + "'";
  };
  std::string out = "#compdef chaos-ctl\n# Made by `chaos-ctl docs zsh`: do not edit.\n\n"
                    "_chaos_ctl_rules() {\n  local -a known\n  known=(${(f)\"$(chaos-ctl docs rules 2>/dev/null)\"})\n  compadd -a known\n}\n\n"
                    "_chaos_ctl() {\n  local context state state_descr line\n  typeset -A opt_args\n  local -a commands\n  commands=(\n";
  for (const auto& c : all_commands())
    if (!c.hidden()) out += std::string("    '") + c.name + ":" + quoted(c.summary) + "'\n";
  out += "  )\n  _arguments -C";
  for (const auto& o : common_options()) out += " \\\n    " + option_spec(o);
  out += " \\\n    '1:command:->command' \\\n    '*::argument:->argument'\n"
         "  case $state in\n    command) _describe command commands ;;\n    argument)\n      case $line[1] in\n";
  for (const auto& c : all_commands()) {
    if (c.hidden()) continue;
    const std::string name = c.name;
    out += "        " + name + ")\n          _arguments";
    for (const auto& o : options_of(c)) out += " \\\n            " + option_spec(o);
    if (name == "set")
      out += " \\\n            '1:kind:(" + spaced(kind_names()) + ")' \\\n            '2:target:_hosts' \\\n            '3:value:(" + spaced(errno_names()) + ")'";
    else if (name == "rm" || name == "pause" || name == "resume") out += " \\\n            '*:rule:_chaos_ctl_rules'";
    else if (name == "run") out += " \\\n            '*::program:_normal'";
    else if (name == "doctor") out += " \\\n            '1:program:_command_names -e'";
    else if (name == "apply" || name == "save") out += " \\\n            '1:file:_files'";
    else if (name == "effects") out += " \\\n            '1:kind:(" + spaced(kind_names()) + ")'";
    else if (name == "hooks") out += " \\\n            '1:class:(" + spaced(function_names()) + ")'";
    else if (name == "breaker") out += " \\\n            '1:action:(" + spaced(breaker_actions()) + ")' \\\n            '2:breaker:($(chaos-ctl docs breakers 2>/dev/null))'";
    else if (name == "schedule") out += " \\\n            '1:action:(run validate status stop)' \\\n            '2:file:_files'";
    else if (name == "stress") out += " \\\n            '1:stressor:(" + spaced(stress::stressor_names()) + ")'";
    else if (name == "daemon") out += " \\\n            '1:action:(start stop status)'";
    out += "\n          ;;\n";
  }
  return out + "      esac ;;\n  esac\n}\n\n_chaos_ctl \"$@\"\n";
}

}  // namespace chaos::cli
