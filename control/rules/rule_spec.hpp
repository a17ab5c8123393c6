// A rule as people write it: kind, target, value and options, all text, already known to be readable. It comes from
// words (`latency redis:6379 200ms --jitter 5ms`), from an INI section and from a JSON object, and goes back to each.
// compile.hpp turns it into what the shim reads.
//
//   words   kind target [value] { --option [text] }       `--option=text` too; options may stand anywhere after kind
//   INI     [fault NAME]  kind = …  target = …  value = …  jitter = …          a flag is `true` or `false`
//   JSON    {"kind":…, "target":…, "value":…, "jitter":…, "dry_run":true}
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "options.hpp"
#include "problem.hpp"

namespace chaos::rules {

struct rule_spec {
  abi::effect kind = abi::effect::observe;
  std::string target;
  std::string value;                      // empty: none was given
  std::map<option, std::string> options;  // flags that are on hold "true"; flags that are off are not there

  bool has(option o) const { return options.count(o) != 0; }
  std::string get(option o) const {
    const auto found = options.find(o);
    return found == options.end() ? std::string() : found->second;
  }
  bool operator==(const rule_spec&) const = default;
};

// Splits one text into the words of a rule as a shell would: blanks separate, '…' and "…" and \ protect.
result<std::vector<std::string>> split_words(std::string_view text);

result<rule_spec> spec_from_words(std::span<const std::string> words);
result<rule_spec> spec_from_json(const nlohmann::json& object);
// The message with the line of [fault NAME] on which what is wrong stands, as far as its word tells.
problem in_fault(std::string_view text, std::string_view name, problem p);
result<std::vector<rule_spec>> specs_from_ini(std::string_view text);  // every [fault NAME]; other sections are errors

std::vector<std::string> words_of(const rule_spec& spec);  // canonical order: kind target value, options by the table
nlohmann::json json_of(const rule_spec& spec);
result<std::string> ini_of(std::span<const rule_spec> specs);  // refused when a text would not come back as it was

// One line with every value in its canonical form (200ms for 0.2s), without name, life and manner: two rules that do
// the same have the same. The rule's random key is its hash when it has no name of its own.
std::string normalised_text(const rule_spec& spec);

}  // namespace chaos::rules
