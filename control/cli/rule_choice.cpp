#include "rule_choice.hpp"

#include "output.hpp"

namespace chaos::cli {

int act_on_rules(const invocation& from, protocol::command what, const char* done_word) {
  auto arguments = chosen_rules(from);
  if (!arguments) return report(arguments.error(), from);
  json answer;
  if (const int status = ask(from, what, std::move(*arguments), answer)) return status;
  if (from.json) {
    print_json(answer);
    return exits::done;
  }
  const json& changed = array_of(answer, "rules");
  for (const auto& rule : changed)
    print(std::string(done_word) + ' ' +
          (rule.is_object() ? text_of(rule, "name") + "  " + text_of(rule, "kind") + ' ' + text_of(rule, "target") : rule.dump()) + '\n');
  if (changed.empty()) print("no rule\n");
  return exits::done;
}

}  // namespace chaos::cli
