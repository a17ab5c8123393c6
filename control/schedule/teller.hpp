// Tells what a schedule does: to the audit log (JSON lines), to syslog, to a command and to a webhook. Nobody who does not
// listen keeps the schedule from going on.
#pragma once
#include <functional>

#include "files.hpp"
#include "shell.hpp"

namespace chaos::schedule {

class teller {
 public:
  // `show`: for whoever watches chaos-ctl itself.
  teller(const plan& p, std::string audit_path, std::uint64_t seed, std::function<void(const json& event, const std::string& sentence)> show);
  ~teller();
  teller(const teller&) = delete;

  rules::result<rules::done> open();  // that the audit log can be written is found out before anything happens

  // `event`: start inject clear skip recovered warning end. `about` goes into the JSON line.
  void tell(const char* event, const std::string& sentence, json about = json::object());

 private:
  void write_down(const json& line, const std::string& sentence);
  const plan& plan_;
  const std::string path_;
  const std::uint64_t seed_;
  const std::function<void(const json&, const std::string&)> show_;
  int audit_ = -1;
};

}  // namespace chaos::schedule
