// chaos-ctl apply: every [fault NAME] of a file, all or none.
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

#include "../link.hpp"
#include "../local_check.hpp"
#include "../rule_view.hpp"

namespace chaos::cli::commands {

int apply(const invocation& from) {
  using rules::problem_code;
  if (from.words.size() != 1)
    return report({from.words.empty() ? problem_code::missing_word : problem_code::unexpected_word, "apply takes one FILE (- for standard input)",
                   from.words.empty() ? "" : from.words[1], {"FILE"}}, from);
  std::ostringstream text;
  if (from.words[0] == "-") text << std::cin.rdbuf();
  else {
    std::ifstream in(from.words[0], std::ios::binary);
    if (!in.is_open())
      return report({problem_code::failed, "can not read " + from.words[0] + ": " + std::strerror(errno), from.words[0], {}}, from);
    text << in.rdbuf();
  }
  const auto specs = rules::specs_from_ini(text.str());
  if (!specs) return report(specs.error(), from);
  if (const auto possible = check_rules(*specs); !possible) return report(possible.error(), from);
  json answer;
  if (const int status = ask(from, protocol::command::apply, {{"ini", text.str()}}, answer)) return status;
  if (from.json) print_json(answer);
  else
    for (const auto& rule : array_of(answer, "rules"))
      print(std::to_string(number(rule, "id")) + "  " + text_of(rule, "name") + "  " + text_of(rule, "kind") + ' ' + text_of(rule, "target") + '\n');
  return exits::done;
}

}  // namespace chaos::cli::commands
