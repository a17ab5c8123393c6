#include "invocation.hpp"

#include <algorithm>

#include "control/rules/options.hpp"

namespace chaos::cli {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

std::vector<std::string> flags_of(std::span<const command_option> rows) {
  std::vector<std::string> flags;
  for (const auto& row : rows) flags.emplace_back(row.flag);
  return flags;
}

// Parsing is a walk with one state: which command, if any, has been named.
struct parser {
  std::span<const std::string> typed;
  invocation& out;
  std::size_t at = 0;

  result<done> run() {
    for (const auto& word : typed)  // an error in what follows must know it already
      if (word == "--") break;
      else if (word == "--json") out.json = true;
    while (at < typed.size()) {
      const std::string& word = typed[at];
      if (word == "--" && out.command) {
        ++at;
        return rest();
      }
      const bool negative = out.command && word.size() > 1 && word[0] == '-' && word[1] >= '0' && word[1] <= '9';  // a value, if a wrong one
      if (word.size() > 1 && word[0] == '-' && !negative) {
        if (auto r = flag(word); !r) return r;
      } else if (!out.command && word == "help") {  // chaos-ctl help set
        out.help = true;
        ++at;
      } else if (!out.command) {
        out.command = find_command(word);
        if (!out.command) {
          auto p = rules::unknown_word(problem_code::unknown_command, "command", word, command_names());
          if (rules::find_kind(word)) p.message = "unknown command '" + word + "': did you mean 'set " + word + "'?";
          return p;
        }
        ++at;
      } else if (std::string_view(out.command->name) == "run") {
        return rest();  // what follows the program belongs to the program
      } else {
        out.words.push_back(word);
        ++at;
      }
    }
    return done{};
  }

  result<done> rest() {
    out.words.insert(out.words.end(), typed.begin() + static_cast<long>(at), typed.end());
    at = typed.size();
    return done{};
  }

  result<done> flag(const std::string& word) {
    if (word == "-h") return keep("--help", "", false);
    const auto equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const bool rule = out.command && takes_rule(*out.command);
    std::vector<command_option> known(common_options().begin(), common_options().end());
    if (out.command) known = options_of(*out.command);
    const auto found = std::ranges::find(known, name, [](const command_option& o) { return std::string(o.flag); });
    if (found == known.end()) {
      std::vector<std::string> possible = flags_of(known);
      if (const auto kind = rule && !out.words.empty() ? rules::find_kind(out.words[0]) : std::nullopt) {
        possible = rules::flags_for(*kind);
        for (const auto& row : common_options()) possible.emplace_back(row.flag);
      }
      auto p = rules::unknown_word(problem_code::unknown_option, "option", name, possible);
      if (out.command && p.message.find("did you mean") == std::string::npos) p.message += std::string("; see chaos-ctl ") + out.command->name + " --help";
      return p;
    }
    const bool common = std::ranges::any_of(common_options(), [&](const auto& row) { return name == row.flag; });
    if (rule && !common) {  // left to the grammar of rules, value and all
      out.words.push_back(word);
      ++at;
      if (found->takes_value() && equals == std::string::npos && at < typed.size() && !is_flag(known, typed[at])) out.words.push_back(typed[at++]);
      return done{};
    }
    if (!found->takes_value()) {
      if (equals != std::string::npos)
        return problem{problem_code::unexpected_word, name + " takes no value, but got '" + word.substr(equals + 1) + "'", word, {name}};
      return keep(name, "", false);
    }
    if (equals != std::string::npos) return keep(name, word.substr(equals + 1), true);
    if (at + 1 >= typed.size() || typed[at + 1] == "--" || is_flag(known, typed[at + 1]))
      return problem{problem_code::missing_word, name + " needs a value: " + name + " " + found->value_help, name, {found->value_help}};
    ++at;
    return keep(name, typed[at], true);
  }

  static bool is_flag(const std::vector<command_option>& known, const std::string& word) {
    return std::ranges::any_of(known, [&](const command_option& o) { return word.substr(0, word.find('=')) == o.flag; });
  }

  result<done> keep(const std::string& name, const std::string& value, bool with_value) {
    ++at;
    if (name == "--json") out.json = true;
    else if (name == "--help") out.help = true;
    else if (name == "--version") out.version = true;
    else if (name == "--session" || name == "--dir") {
      if (value.empty()) return problem{problem_code::missing_word, name + " needs a value", name, {}};
      (name == "--dir" ? out.dir : out.session) = value;
    } else if (with_value) out.options[name].push_back(value);
    else out.options[name];
    return done{};
  }
};

}  // namespace

result<done> parse_command_line(std::span<const std::string> typed, invocation& into) {
  into.typed.assign(typed.begin(), typed.end());
  if (auto r = parser{typed, into}.run(); !r) return r;
  if (!into.command && !into.help && !into.version)
    return problem{problem_code::missing_word, "no command was given; see chaos-ctl --help", "", command_names()};
  if (into.command && !*into.command->arguments && !into.words.empty() && !into.help) {
    const std::string name = into.command->name;
    const std::string instead = name == "stop" ? ": it ends everything; `chaos-ctl rm` ends one rule" : "";
    return problem{problem_code::unexpected_word, name + " takes no argument, but got '" + into.words[0] + "'" + instead, into.words[0], {}};
  }
  return done{};
}

}  // namespace chaos::cli
