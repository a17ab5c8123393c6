// state.json: anything may lie there. What is read and saved again is read the same; what can not be read is kept aside.
#include "control/daemon/state_file.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

#include "fuzz.hpp"
#include "rule_checks.hpp"
#include "tests/support/temporary_folder.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chaos;
  static const testing_support::temporary_folder folder;
  const std::string path = folder.path() + "/state.json";
  std::ofstream(path, std::ios::binary) << fuzz::text_of(data, size);

  const daemon::state_file file(path);
  std::string trouble;
  const daemon::saved_state state = file.load(trouble);
  if (!trouble.empty()) {
    fuzz::require(state.rules.empty() && state.clean && state.next_id == 1, "what can not be read is a fresh start");
    fuzz::require(!std::filesystem::exists(path), "it is kept aside");
    for (const auto& kept : std::filesystem::directory_iterator(folder.path())) std::filesystem::remove(kept);
    return 0;
  }
  for (const auto& r : state.rules) {
    fuzz::check_accepted(r.spec);
    fuzz::require(r.slot < abi::rule_max, "a slot is one");
  }
  fuzz::require(file.save(state).ok(), "what was read can be saved");
  const daemon::saved_state again = file.load(trouble);
  fuzz::require(trouble.empty(), "what was saved can be read", trouble);
  fuzz::require(again.rules.size() == state.rules.size() && again.runs.size() == state.runs.size() && again.next_id == state.next_id &&
                    again.next_run == state.next_run && again.seed == state.seed && again.clean == state.clean, "it comes back as it was");
  for (std::size_t i = 0; i < state.rules.size(); ++i)
    fuzz::require(again.rules[i].spec == state.rules[i].spec && again.rules[i].id == state.rules[i].id, "rules come back as they were");
  return 0;
}
