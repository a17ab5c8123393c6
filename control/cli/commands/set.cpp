// chaos-ctl set: checks the words with the daemon's own grammar, so that bad input starts no daemon, then hands them over.
#include "../link.hpp"
#include "../local_check.hpp"
#include "../pages.hpp"
#include "../output.hpp"

namespace chaos::cli::commands {

int set(const invocation& from) {
  const auto spec = rules::spec_from_words(from.words);
  if (!spec) return report(spec.error(), from);
  if (const auto possible = check_rules({&*spec, 1}); !possible) return report(possible.error(), from);

  json answer;
  session_location where;
  if (const int status = ask(from, protocol::command::set, {{"words", from.words}}, answer, &where)) return status;
  if (from.json) {
    if (answer.is_object()) answer["session"] = where.session;
    print_json(answer);
    return exits::done;
  }
  print(std::to_string(number(answer, "id")) + "\n");
  if (from.session == "new") note("CHAOS_SESSION=" + where.session);
  if (const auto hint = elsewhere_hint(where); !hint.empty()) warn(hint);
  return exits::done;
}

}  // namespace chaos::cli::commands
