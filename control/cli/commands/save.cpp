// chaos-ctl save: the rules in force, as apply reads them.
#include "../link.hpp"
#include "../output.hpp"
#include "../output_file.hpp"

namespace chaos::cli::commands {

int save(const invocation& from) {
  using rules::problem_code;
  if (from.words.size() > 1) return report({problem_code::unexpected_word, "save takes one FILE at most", from.words[1], {"FILE"}}, from);
  json answer;
  if (const int status = ask(from, protocol::command::save, json::object(), answer)) return status;
  const std::string ini = text_of(answer, "ini");
  if (from.words.empty() || from.words[0] == "-") {
    if (from.json) print_json(answer);
    else print(ini);
    return exits::done;
  }
  if (const auto written = write_output(from.words[0], ini); !written) return report(written.error(), from);
  if (from.json) print_json({{"file", from.words[0]}, {"bytes", ini.size()}});
  return exits::done;
}

}  // namespace chaos::cli::commands
