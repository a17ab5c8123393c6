// chaos-ctl docs: man pages and completions, made from the tables when the project is built; the names of `rules`, `breakers` and `experiments` feed completion.
#include <cerrno>
#include <cstring>
#include <fstream>

#include "../help.hpp"
#include "../link.hpp"
#include "../output.hpp"

namespace chaos::cli::commands {

int docs(const invocation& from) {
  using rules::problem_code;
  static const std::vector<std::string> forms{"man", "bash", "zsh", "rules", "breakers", "experiments"};
  const std::string what = from.words.empty() ? "" : from.words[0];
  if (what == "bash") return print(bash_completion()), exits::done;
  if (what == "zsh") return print(zsh_completion()), exits::done;
  if (what == "rules" || what == "breakers" || what == "experiments") {  // quiet: a completion has nothing to complain about
    const auto where = session_of(from);
    if (!where) return exits::failed;
    auto link = protocol::client::connect(where->folder);
    if (!link) return exits::no_daemon;
    const bool rules = what == "rules";
    const auto answer = link->call(rules ? protocol::command::list : what == "breakers" ? protocol::command::breaker : protocol::command::experiment,
                                   rules ? json::object() : json{{"action", "list"}}, std::chrono::milliseconds(500));
    if (!answer) return exits::failed;
    for (const auto& b : array_of(answer->result, "breakers")) print(text_of(b, "name") + "\n");
    for (const auto& e : array_of(answer->result, "experiments")) print(text_of(e, "name") + "\n");
    for (const auto& rule : array_of(answer->result, "rules")) print(std::to_string(number(rule, "id")) + "\n" + text_of(rule, "name") + "\n");
    return exits::done;
  }
  if (what != "man" || from.words.size() != 2)
    return report({problem_code::missing_word, "docs man FOLDER | bash | zsh | rules | breakers | experiments", what, forms}, from);
  for (const auto& [name, text] : man_pages()) {
    const std::string path = from.words[1] + "/" + name;
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out << text;
    out.flush();
    if (!out) return report({problem_code::failed, "can not write " + path + ": " + std::strerror(errno), path, {}}, from);
    print(path + "\n");
  }
  return exits::done;
}

}  // namespace chaos::cli::commands
