// Rules as INI text. What is accepted can be written as INI text again, and says the same.
#include "control/rules/rule_spec.hpp"
#include "fuzz.hpp"
#include "rule_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chaos;
  const auto specs = rules::specs_from_ini(fuzz::text_of(data, size));
  if (!specs) {
    fuzz::require(!specs.error().message.empty(), "a refusal says why");
    return 0;
  }
  for (const auto& spec : *specs) fuzz::check_accepted(spec);
  if (const auto text = rules::ini_of(*specs)) {
    const auto again = rules::specs_from_ini(*text);
    fuzz::require(again && *again == *specs, "INI text comes back as it was", *text);
  } else {
    fuzz::require(!text.error().message.empty(), "a refusal says why");
  }
  return 0;
}
