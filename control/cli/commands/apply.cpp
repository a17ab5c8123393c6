// chaos-ctl apply: every [fault NAME] of a file, all or none.
#include "../input.hpp"
#include "../link.hpp"
#include "../local_check.hpp"
#include "../rule_view.hpp"

namespace chaos::cli::commands {

int apply(const invocation& from) {
  using rules::problem_code;
  if (from.words.size() != 1)
    return report({from.words.empty() ? problem_code::missing_word : problem_code::unexpected_word, "apply takes one FILE (- for standard input)",
                   from.words.empty() ? "" : from.words[1], {"FILE"}}, from);
  const auto text = read_input(from.words[0]);
  if (!text) return report(text.error(), from);
  const auto specs = rules::specs_from_ini(*text);
  const auto refused = [&](const rules::problem& p) { return report(in_file(from.words[0], *text, p), from); };
  if (!specs) return refused(specs.error());
  if (specs->empty()) return refused({problem_code::bad_ini, "there is no [fault NAME] in it", "", {"[fault NAME]"}});
  for (const auto& spec : *specs)
    if (const auto possible = check_rules({&spec, 1}); !possible) return refused(rules::in_fault(*text, spec.get(rules::option::name_), possible.error()));
  json answer;
  if (const int status = ask(from, protocol::command::apply, {{"ini", *text}}, answer)) return status;
  if (from.json) print_json(answer);
  else
    for (const auto& rule : array_of(answer, "rules"))
      print(std::to_string(number(rule, "id")) + "  " + text_of(rule, "name") + "  " + text_of(rule, "kind") + ' ' + text_of(rule, "target") + '\n');
  return exits::done;
}

}  // namespace chaos::cli::commands
