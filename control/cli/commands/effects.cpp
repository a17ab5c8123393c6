// chaos-ctl effects: effects.def and options.def, as a reference.
#include "../help.hpp"
#include "../output.hpp"
#include "chaos/abi/effects.hpp"
#include "control/rules/joined.hpp"
#include "control/rules/options.hpp"

namespace chaos::cli::commands {

namespace {

using rules::spaced;

std::vector<std::string> targets_of(unsigned targets) {
  using namespace abi::target_kinds;
  std::vector<std::string> names;
  for (const auto& [bit, name] : {std::pair{to_address, "address"}, {to_http, "http://"}, {to_file, "file:"}, {to_memory, "malloc"}, {to_process, "process"}, {to_dns, "dns:"}, {to_env, "env:"}})
    if (targets & bit) names.emplace_back(name);
  return names;
}

json json_of(unsigned i) {
  const auto& e = abi::effect_table[i];
  const auto kind = static_cast<abi::effect>(i);
  json options = json::array();
  for (unsigned o = 0; o < rules::option_count; ++o)
    if (rules::takes(kind, static_cast<rules::option>(o)))
      options.push_back({{"option", rules::flag_of(static_cast<rules::option>(o))}, {"value", rules::option_table[o].value_help}, {"help", rules::option_table[o].help}});
  return {{"kind", e.name}, {"value", e.value_help}, {"summary", e.summary}, {"targets", targets_of(e.targets)},
          {"classes", {{"address", classes_in(e.address_classes)}, {"file", classes_in(e.file_classes)}, {"other", classes_in(e.other_classes)}, {"with_on", classes_in(e.further_classes)}}},
          {"options", options}};
}

std::string page_of(unsigned i) {
  const auto& e = abi::effect_table[i];
  const auto kind = static_cast<abi::effect>(i);
  std::string out = std::string("chaos-ctl set ") + e.name + " TARGET" + (*e.value_help ? " " : "") + e.value_help + " [OPTION]…\n\n" + wrapped(e.summary, 0) + "\n\n";
  out += "targets:       " + spaced(targets_of(e.targets)) + "\n";
  for (const auto& [what, classes] : {std::pair{"on addresses:  ", e.address_classes}, {"on files:      ", e.file_classes}, {"on others:     ", e.other_classes}, {"only by --on:  ", e.further_classes}})
    if (classes) out += what + spaced(classes_in(classes)) + "\n";
  out += "\noptions of this kind:\n";
  std::string general;
  for (unsigned o = 0; o < rules::option_count; ++o) {
    const auto option = static_cast<rules::option>(o);
    if (!rules::takes(kind, option)) continue;
    const auto& info = rules::info_of(option);
    if (info.kinds == ~rules::kind_set{0}) general += (general.empty() ? "" : " ") + rules::flag_of(option);
    else out += "  " + rules::flag_of(option) + (*info.value_help ? " " : "") + info.value_help + "\n      " + wrapped(info.help, 6) + "\n";
  }
  return out + "\nand of every kind:\n  " + wrapped(general, 2) + "\n";
}

}  // namespace

int effects(const invocation& from) {
  using rules::problem_code;
  if (from.words.size() > 1) return report({problem_code::unexpected_word, "effects takes one kind", from.words[1], {}}, from);
  if (!from.words.empty()) {
    const auto kind = rules::find_kind(from.words[0]);
    if (!kind) return report(rules::unknown_word(problem_code::unknown_kind, "kind", from.words[0], rules::kind_names()), from);
    if (from.json) print_json(json_of(static_cast<unsigned>(*kind)));
    else print(page_of(static_cast<unsigned>(*kind)));
    return exits::done;
  }
  if (from.json) {
    json all = json::array();
    for (unsigned i = 0; i < abi::effect_count; ++i) all.push_back(json_of(i));
    print_json({{"effects", all}});
    return exits::done;
  }
  table t({"kind", "value", "targets", "what the program experiences"});
  for (const auto& e : abi::effect_table) t.row({e.name, e.value_help, spaced(targets_of(e.targets)), e.summary});
  print(t.text());
  return exits::done;
}

}  // namespace chaos::cli::commands
