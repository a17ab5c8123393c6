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
  const json& changed = array_of(answer, "ids");
  std::string ids;
  for (const auto& id : changed) ids += ' ' + id.dump();
  print(changed.empty() ? "there is no rule\n" : std::string(done_word) + (changed.size() == 1 ? " rule" : " rules") + ids + '\n');
  return exits::done;
}

}  // namespace chaos::cli
