// Rules as words of a command line. What is accepted goes through every other form and comes back the same, and compiles
// to a bank in which every offset holds; what is refused says why.
#include <nlohmann/json.hpp>

#include "control/rules/compile.hpp"
#include "control/rules/values.hpp"
#include "fuzz.hpp"
#include "rule_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chaos;
  const auto spec = rules::spec_from_words(rules::split(fuzz::text_of(data, size), ' '));
  if (!spec) {
    fuzz::require(!spec.error().message.empty(), "a refusal says why");
    return 0;
  }
  const auto from_words = rules::spec_from_words(rules::words_of(*spec));
  fuzz::require(from_words && *from_words == *spec, "words come back as they were", from_words ? "" : from_words.error().message);
  fuzz::check_accepted(*spec);
  return 0;
}
