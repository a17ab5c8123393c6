#include "teller.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "health.hpp"

namespace chaos::schedule {

namespace {

std::string upper(std::string text) {
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return text;
}

// CHAOS_EVENT, CHAOS_SCENARIO …: the texts of the event.
variables variables_of(const json& line) {
  variables v;
  for (const auto& [key, value] : line.items())
    if (value.is_string() || value.is_number()) v.emplace_back("CHAOS_" + upper(key), value.is_string() ? value.get<std::string>() : value.dump());
  return v;
}

}  // namespace

teller::teller(const plan& p, std::string audit_path, std::uint64_t seed, std::function<void(const json&, const std::string&)> show)
    : plan_(p), path_(std::move(audit_path)), seed_(seed), show_(std::move(show)) {}

teller::~teller() {
  if (audit_ >= 0) close(audit_);
  if (plan_.syslog) closelog();
}

rules::result<rules::done> teller::open() {
  audit_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (audit_ < 0) return rules::problem{rules::problem_code::failed, "can not write the audit log " + path_ + ": " + std::strerror(errno), path_, {}};
  if (plan_.syslog) openlog("chaos-schedule", LOG_PID, LOG_DAEMON);
  return rules::done{};
}

void teller::write_down(const json& line, const std::string& sentence) {
  const std::string text = line_of(line);
  if (audit_ >= 0 && ::write(audit_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))  // whole lines: O_APPEND
    show_({{"event", "warning"}, {"text", "the audit log can not be written"}}, "the audit log " + path_ + " can not be written: " + std::strerror(errno));
  if (plan_.syslog) ::syslog(LOG_NOTICE, "%s", sentence.c_str());
  show_(line, sentence);
}

void teller::tell(const char* event, const std::string& sentence, json about) {
  about["event"] = event;
  about["text"] = sentence;
  about["schedule"] = plan_.name;
  about["seed"] = seed_;
  about["time_unix_ms"] = unix_ms();
  about["pid"] = getpid();
  about["uid"] = getuid();
  write_down(about, sentence);
  const auto failed = [&](const std::string& what) {
    json line = {{"event", "warning"}, {"text", what}, {"schedule", plan_.name}, {"time_unix_ms", unix_ms()}, {"pid", getpid()}};
    write_down(line, what);
  };
  if (!plan_.notify_command.empty())
    if (const auto done = run_command(plan_.notify_command, variables_of(about), line_of(about), plan_.notify_timeout); !done.good())
      failed("the notification command failed: " + done.text());
  if (!plan_.webhook.empty())
    if (const auto why = post_json(plan_.webhook, line_of(about), plan_.notify_timeout); !why.empty()) failed("the webhook failed: " + why);
}

}  // namespace chaos::schedule
