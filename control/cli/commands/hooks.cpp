// chaos-ctl hooks: functions.def, as a table.
#include <algorithm>
#include <sstream>

#include "../help.hpp"
#include "../output.hpp"
#include "chaos/abi/functions.hpp"

namespace chaos::cli::commands {

namespace {

std::vector<std::string> words_in(const char* text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string w; in >> w;) words.push_back(w);
  return words;
}

constexpr const char* fails_names[] = {"-1 and errno", "NULL and errno", "the errno", "EAI_…", "EOF and errno", "0 and errno", "never"};
constexpr const char* fails_words[] = {"minus_one", "null", "code", "eai", "eof", "zero_items", "none"};

}  // namespace

int hooks(const invocation& from) {
  using rules::problem_code;
  if (from.words.size() > 1) return report({problem_code::unexpected_word, "hooks takes one class or function", from.words[1], {}}, from);
  const std::string wanted = from.words.empty() ? "" : from.words[0];
  std::vector<std::string> known;
  for (const auto& c : abi::class_table) known.emplace_back(c.name);
  for (const auto& f : abi::function_table) known.emplace_back(f.name);
  if (!wanted.empty() && std::ranges::find(known, wanted) == known.end())
    return report(rules::unknown_word(problem_code::unknown_function, "function or class", wanted, known), from);

  json rows = json::array();
  table t({"function", "classes", "fails with"});
  for (const auto& f : abi::function_table) {
    const auto classes = classes_in(f.classes);
    if (!wanted.empty() && wanted != f.name && std::ranges::find(classes, wanted) == classes.end()) continue;
    const auto how = static_cast<unsigned>(f.how);
    rows.push_back({{"function", f.name}, {"classes", classes}, {"fails", fails_words[how]}, {"errnos", words_in(f.errnos)}});
    std::string list;
    for (const auto& c : classes) list += (list.empty() ? "" : " ") + c;
    t.row({f.name, list, fails_names[how]});
  }
  if (from.json) {
    json classes = json::array();
    for (const auto& c : abi::class_table) classes.push_back({{"class", c.name}, {"meaning", c.meaning}});
    print_json({{"functions", rows}, {"classes", classes}});
    return exits::done;
  }
  print(t.text());
  if (rows.size() == 1 && wanted == text_of(rows[0], "function")) {
    std::string list;
    for (const auto& e : rows[0]["errnos"]) list += (list.empty() ? "" : " ") + e.get<std::string>();
    print("errnos: " + (list.empty() ? "none" : list) + "\n");
  }
  if (wanted.empty()) {
    table meanings({"class", "meaning"});
    for (const auto& c : abi::class_table) meanings.row({c.name, c.meaning});
    print("\n" + meanings.text());
  }
  return exits::done;
}

}  // namespace chaos::cli::commands
