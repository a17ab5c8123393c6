// Who did what: audit.jsonl in the session folder, one JSON object a line, rotated. Everything that changes something is
// written there with its outcome, also what chaosd did by itself (then without pid).
#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "control/rules/problem.hpp"

namespace spdlog {
class logger;
}

namespace chaos::daemon {

struct actor {
  std::uint32_t uid = 0;
  std::int32_t pid = 0;  // 0: chaosd itself
  std::string remote;    // who asked over HTTP: address and port
};

class audit {
 public:
  static constexpr std::size_t file_bytes_max = 4 * 1024 * 1024, files_kept = 4;
  static constexpr std::size_t text_max = 512, request_max = 8192;  // of one text in a request, of all of it; what is longer is cut

  audit(const std::string& path, bool to_syslog);
  void write(const actor& who, const std::string& command, nlohmann::json what, const rules::problem* refused = nullptr);

 private:
  std::shared_ptr<spdlog::logger> file_;
  bool to_syslog_;
};

}  // namespace chaos::daemon
