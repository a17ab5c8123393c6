// state.json and experiments.json: anything may lie there. What is read and saved again is read the same; what can not be read
// is kept aside.
#include "control/daemon/state_file.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

#include "control/daemon/experiments_file.hpp"
#include "fuzz.hpp"
#include "rule_checks.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace chaos;

const testing_support::temporary_folder& folder() {
  static const testing_support::temporary_folder the_one;
  return the_one;
}

std::string file_of(std::string_view name, std::string_view content) {
  const std::string path = folder().path() + "/" + std::string(name);
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

void kept_aside(const std::string& path) {
  fuzz::require(!std::filesystem::exists(path), "it is kept aside");
  for (const auto& kept : std::filesystem::directory_iterator(folder().path())) std::filesystem::remove(kept);
}

void table_of_experiments(std::string_view content) {
  const std::string path = file_of("experiments.json", content);
  const daemon::experiments_file file(path);
  std::string trouble;
  daemon::saved_experiments saved = file.load(trouble);
  if (!trouble.empty()) {
    fuzz::require(saved.table.empty() && saved.begun == 0, "what can not be read is an empty table");
    return kept_aside(path);
  }
  daemon::experiments table(5);
  table.restore(std::move(saved));
  fuzz::require(table.live_count() == 0, "nothing runs that another daemon began");
  for (const auto& e : table.all()) (void)daemon::experiments::describe(e, 0).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  fuzz::require(file.save(table, 0).empty(), "what was read can be saved");
  const daemon::saved_experiments again = file.load(trouble);
  fuzz::require(trouble.empty(), "what was saved can be read", trouble);
  fuzz::require(again.begun == table.begun() && again.table.size() == table.all().size(), "it comes back as it was");
}

void state(std::string_view content) {
  const std::string path = file_of("state.json", content);
  const daemon::state_file file(path);
  std::string trouble;
  const daemon::saved_state state = file.load(trouble);
  if (!trouble.empty()) {
    fuzz::require(state.rules.empty() && state.clean && state.next_id == 1, "what can not be read is a fresh start");
    return kept_aside(path);
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
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view content = fuzz::text_of(data, size);
  state(content);
  table_of_experiments(content);
  return 0;
}
