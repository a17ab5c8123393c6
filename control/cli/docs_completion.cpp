// Shell completion from the tables. Both scripts ask `chaos-ctl docs rules` (`breakers`, `experiments`) for the ids and names that exist.
#include <algorithm>

#include "chaos/abi/classes.hpp"
#include "chaos/abi/effects.hpp"
#include "chaos/abi/errnos.def"
#include "chaos/abi/functions.hpp"
#include "control/rules/joined.hpp"
#include "control/rules/options.hpp"
#include "control/rules/targets.hpp"
#include "control/stress/plan.hpp"
#include "experiment_report.hpp"
#include "help.hpp"

namespace chaos::cli {

namespace {

using rules::spaced;

std::vector<std::string> kind_names() {
  std::vector<std::string> names;
  for (const auto& e : abi::effect_table) names.emplace_back(e.name);
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

std::vector<std::string> targets_of(const abi::effect_info& kind) { return rules::target_beginnings(kind.targets); }

std::string actions_named(const char* command) { return spaced(actions_of(*find_command(command))); }

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
  if (flag == "--format") return form_names();
  if (const auto option = rules::find_option(flag)) {
    const auto choices = rules::choices_of(rules::info_of(*option).form);
    return {choices.begin(), choices.end()};
  }
  return {};
}

std::string zsh_targets() {
  std::string out = "_chaos_ctl_targets() {\n  local -a begun\n  case $line[1] in\n";
  for (const auto& kind : abi::effect_table) {
    out += std::string("    ") + kind.name + ") begun=(";
    for (const auto& b : targets_of(kind)) out += " '" + b + "'";
    out += " ) ;;\n";
  }
  return out + "  esac\n  compadd -S '' -a begun\n  _hosts\n}\n\n";
}

}  // namespace

std::string bash_completion() {
  std::string out = R"(# bash completion for chaos-ctl. Made by `chaos-ctl docs bash`: do not edit.
_chaos_ctl() {
  local cur prev command='' kind='' action='' i word positional=0 before=''
  # bash takes redis:6379 and --jitter=5ms apart: here they are one word again
  local -a words=()
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if ((i > 1)) && [[ $word == [:=]* || $before == *[:=] ]]; then words[-1]+=$word
    else words+=("$word")
    fi
    before=$word
  done
  cur=${words[-1]}
  prev=${words[-2]}
  local broken=${cur%"${cur##*[:=]}"} # stays as it is on the line
  if [[ $cur == --*=* ]]; then prev=${cur%%=*} cur=${cur#*=}; fi
  COMPREPLY=()
  _chaos_ctl_words
  if [[ -n $broken && ${#COMP_WORDS[COMP_CWORD]} -lt ${#words[-1]} ]]; then
    [[ $broken == --*= ]] || COMPREPLY=("${COMPREPLY[@]#"${broken#--*=}"}")
  fi
}
_chaos_ctl_words() {
  for ((i = 1; i < ${#words[@]} - 1; i++)); do
    word=${words[i]}
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
  action=$kind
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
  out += "        1)\n          compopt -o nospace 2>/dev/null\n          case $kind in\n";
  for (const auto& kind : abi::effect_table) out += std::string("            ") + kind.name + ") COMPREPLY=($(compgen -W '" + spaced(targets_of(kind)) + "' -- \"$cur\")) ;;\n";
  out += "          esac ;;\n";
  out += "        2) [[ $kind == error ]] && COMPREPLY=($(compgen -W '" + spaced(errno_names()) + "' -- \"$cur\")) ;;\n      esac ;;\n";
  out += "    rm|pause|resume) COMPREPLY=($(compgen -W \"$(chaos-ctl docs rules 2>/dev/null) " + spaced(kind_names()) + "\" -- \"$cur\")) ;;\n";
  out += "    run|doctor)\n      if ((positional == 0)); then COMPREPLY=($(compgen -c -- \"$cur\")); else COMPREPLY=($(compgen -f -- \"$cur\")); fi ;;\n";
  out += "    apply|save) ((positional)) || COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n";
  out += "    effects) COMPREPLY=($(compgen -W '" + spaced(kind_names()) + "' -- \"$cur\")) ;;\n";
  out += "    hooks) COMPREPLY=($(compgen -W '" + spaced(function_names()) + "' -- \"$cur\")) ;;\n";
  out += "    daemon) ((positional)) || COMPREPLY=($(compgen -W '" + actions_named("daemon") + "' -- \"$cur\")) ;;\n";
  out += "    stress) ((positional)) || COMPREPLY=($(compgen -W '" + spaced(stress::stressor_names()) + "' -- \"$cur\")) ;;\n";
  out += "    schedule) if ((positional)); then COMPREPLY=($(compgen -f -- \"$cur\")); else COMPREPLY=($(compgen -W '" + actions_named("schedule") + "' -- \"$cur\")); fi ;;\n";
  out += "    experiment)\n      if ((positional == 0)); then COMPREPLY=($(compgen -W '" + actions_named("experiment") + "' -- \"$cur\")); return; fi\n"
         "      case $action in\n        run|validate|report) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n      esac\n"
         "      case $action in\n        report|status|stop|pause|resume) COMPREPLY+=($(compgen -W \"$(chaos-ctl docs experiments 2>/dev/null)\" -- \"$cur\")) ;;\n      esac ;;\n";
  out += "    breaker)\n      case $positional in\n        0) COMPREPLY=($(compgen -W '" + actions_named("breaker") + "' -- \"$cur\")) ;;\n";
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
                    "_chaos_ctl_experiments() {\n  local -a known\n  known=(${(f)\"$(chaos-ctl docs experiments 2>/dev/null)\"})\n  compadd -a known\n}\n\n"
                    "_chaos_ctl_experiment_words() {\n  case $words[2] in\n    run|validate|report) _files ;;\n  esac\n"
                    "  case $words[2] in\n    report|status|stop|pause|resume) _chaos_ctl_experiments ;;\n  esac\n}\n\n" + zsh_targets() +
                    "_chaos_ctl() {\n  local curcontext=\"$curcontext\" context state state_descr line\n  typeset -A opt_args\n  local -a commands\n  commands=(\n";
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
      out += " \\\n            '1:kind:(" + spaced(kind_names()) + ")' \\\n            '2:target:_chaos_ctl_targets' \\\n            '3:value:(" + spaced(errno_names()) + ")'";
    else if (name == "rm" || name == "pause" || name == "resume") out += " \\\n            '*:rule:_chaos_ctl_rules'";
    else if (name == "run") out += " \\\n            '*::program:_normal'";
    else if (name == "doctor") out += " \\\n            '1:program:_command_names -e'";
    else if (name == "apply" || name == "save") out += " \\\n            '1:file:_files'";
    else if (name == "effects") out += " \\\n            '1:kind:(" + spaced(kind_names()) + ")'";
    else if (name == "hooks") out += " \\\n            '1:class:(" + spaced(function_names()) + ")'";
    else if (name == "breaker") out += " \\\n            '1:action:(" + actions_named("breaker") + ")' \\\n            '2:breaker:($(chaos-ctl docs breakers 2>/dev/null))'";
    else if (name == "schedule") out += " \\\n            '1:action:(" + actions_named("schedule") + ")' \\\n            '2:file:_files'";
    else if (name == "stress") out += " \\\n            '1:stressor:(" + spaced(stress::stressor_names()) + ")'";
    else if (name == "experiment") out += " \\\n            '1:action:(" + actions_named("experiment") + ")' \\\n            '*:experiment:_chaos_ctl_experiment_words'";
    else if (name == "daemon") out += " \\\n            '1:action:(" + actions_named("daemon") + ")'";
    out += "\n          ;;\n";
  }
  return out + "      esac ;;\n  esac\n}\n\n_chaos_ctl \"$@\"\n";
}

}  // namespace chaos::cli
