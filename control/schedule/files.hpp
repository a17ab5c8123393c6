// What a schedule keeps in files: the state file that co-operating applications read, and in the session folder its own
// record, for `status`, `stop` and the next run after a crash. Files are replaced as a whole.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "draw.hpp"

namespace chaos::schedule {

using nlohmann::json;

std::int64_t unix_ms();

std::string line_of(const json& value);  // with its newline; bytes that are not UTF-8, as a command may have, are replaced
rules::result<rules::done> replace_file(const std::string& path, const std::string& text);

// {"mode":"slow","delay":15,"timestamp":…,"injected_by":"chaos-ctl schedule", …}, or {"mode":"healthy", …}
json state_of(const plan& p, const injection& in);
json healthy_state(const plan& p);

// Held as long as the schedule runs, by the kernel: that is how everybody else knows that it does.
class lock {
 public:
  static rules::result<lock> take(const std::string& folder, const std::string& name);
  lock(lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~lock();

 private:
  explicit lock(int fd) : fd_(fd) {}
  int fd_;
};

std::string record_path(const std::string& folder, const std::string& name);
std::optional<json> read_record(const std::string& folder, const std::string& name);

struct known_schedule {
  std::string name;
  bool running = false;
  pid_t pid = 0;  // of who runs it; the record may be of one before
  json record;    // may be empty
};
std::vector<known_schedule> known_schedules(const std::string& folder);

}  // namespace chaos::schedule
