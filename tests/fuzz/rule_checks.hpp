// What holds for every rule that was accepted, whatever form it came in.
#pragma once
#include <nlohmann/json.hpp>

#include "control/rules/compile.hpp"
#include "fuzz.hpp"

namespace chaos::fuzz {

inline void check_accepted(const rules::rule_spec& spec) {
  const auto from_json = rules::spec_from_json(rules::json_of(spec));
  require(from_json && *from_json == spec, "JSON comes back as it was", from_json ? "" : from_json.error().message);

  rules::compile_setting setting;
  setting.id = 7;
  setting.slot = 3;
  setting.now_ns = 1'000'000'000;
  const auto compiled = rules::compile(spec, setting);
  if (!compiled) {
    require(!compiled.error().message.empty(), "a refusal says why");
    return;
  }
  require(!rules::normalised_text(spec).empty(), "a rule has a normalised text");
  const auto bank = rules::make_bank({&*compiled});
  require(bank.ok(), "one rule has room in a bank");
  const abi::rule& r = bank->rules.at(0);
  const auto inside = [&](abi::pool_offset at) { return at < bank->text.size(); };
  require(bank->text.back() == 0, "the pool ends with NUL");
  require(inside(r.name) && inside(r.process_glob) && inside(r.thread_glob) && inside(r.caller_glob) && inside(r.stack_glob) && inside(r.text),
          "texts of the rule are in the pool");
  require(r.term_count > 0 && r.term_count <= abi::term_max && r.error_count <= abi::error_max && r.percentile_count <= abi::percentile_max,
          "counts are within their arrays");
  for (unsigned i = 0; i < r.term_count; ++i) {
    require(inside(r.terms[i].text), "texts of targets are in the pool");
    require(r.terms[i].kind != abi::term_kind::none && r.terms[i].prefix <= 128 && r.terms[i].port_low <= r.terms[i].port_high, "a term makes sense");
  }
  require(r.classes != 0 || !r.functions.empty(), "a rule acts on something");
  require(r.chance <= abi::certain && r.toxicity <= abi::certain && r.amount <= abi::certain && r.correlation <= abi::certain, "probabilities are at most 1");
  require(r.when.pattern_length <= 64 && (r.when.last == 0 || r.when.first <= r.when.last), "--when makes sense");
  require(r.size_low <= r.size_high, "--size makes sense");
  require(r.ends_at_ns == 0 || r.ends_at_ns > setting.now_ns, "a rule ends after it began");
}

}  // namespace chaos::fuzz
