// The timeline: a file that anybody may have written (where draining goes on is found in it), and events that a hostile
// target made up: each becomes one line of JSON.
#include "control/daemon/timeline.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

#include "fuzz.hpp"
#include "tests/support/temporary_folder.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chaos;
  static const testing_support::temporary_folder folder;
  const std::string path = folder.path() + "/timeline.jsonl";
  std::ofstream(path, std::ios::binary) << fuzz::text_of(data, size);
  daemon::timeline::next_ticket(path);
  std::filesystem::remove(path);

  std::size_t lines = 0;
  const auto check = [&](const std::string& line) {
    ++lines;
    fuzz::require(line.find('\n') == line.size() - 1, "an event is one line", line);
    fuzz::require(nlohmann::json::parse(line, nullptr, false).is_object(), "an event is a JSON object", line);
  };
  std::size_t events = 0;
  {
    daemon::timeline t(path, [](std::uint32_t) { return daemon::rule_names{"name", "target"}; }, check);
    fuzz::input in(data, size);
    std::uint64_t now = 1;
    for (; !in.empty() && events < daemon::timeline::lines_a_second; ++events) {
      abi::event e{};
      in.bytes(&e, sizeof e);
      t.take(events, e, now);
      now += e.reserved[0];
    }
    t.tick(now);
    fuzz::require(lines == events, "every event is told");
    fuzz::require(t.unwritten() == 0, "every line is written");
  }
  fuzz::require(events == 0 || daemon::timeline::next_ticket(path) <= events, "draining goes on behind the last event");
  std::filesystem::remove(path);
  return 0;
}
