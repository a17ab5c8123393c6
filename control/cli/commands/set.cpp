// chaos-ctl set: checks the words with the daemon's own grammar, so that bad input starts no daemon, then hands them over.
#include "../link.hpp"
#include "../pages.hpp"
#include "../rule_view.hpp"
#include "control/rules/compile.hpp"

namespace chaos::cli::commands {

int set(const invocation& from) {
  const auto spec = rules::spec_from_words(from.words);
  if (!spec) return report(spec.error(), from);
  rules::compile_setting setting;
  setting.id = setting.slot = 1;
  if (const auto possible = rules::compile(*spec, setting); !possible) return report(possible.error(), from);

  json answer;
  session_location where;
  if (const int status = ask(from, protocol::command::set, {{"words", from.words}}, answer, &where)) return status;
  const json& rule = answer.contains("rule") ? answer["rule"] : answer;
  if (from.json) {
    if (answer.is_object()) answer["session"] = where.session;
    print_json(answer);
    return exits::done;
  }
  print(std::to_string(number(rule, "id")) + "\n");
  if (from.session == "new") note("CHAOS_SESSION=" + where.session);
  if (!spec->has(rules::option::for_) && !spec->has(rules::option::forever_) && !spec->has(rules::option::owner_)) note(life_sentence(rule));
  if (const auto hint = elsewhere_hint(where); !hint.empty()) warn(hint);
  return exits::done;
}

}  // namespace chaos::cli::commands
