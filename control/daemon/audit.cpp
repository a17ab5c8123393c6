#include "audit.hpp"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/spdlog.h>

#include <chrono>

#include "control/protocol/message.hpp"

namespace chaos::daemon {

using nlohmann::json;

namespace {

void shorten(json& value) {
  if (value.is_structured()) {
    for (json& part : value) shorten(part);
  } else if (value.is_string() && value.get_ref<std::string&>().size() > audit::text_max) {
    std::string& text = value.get_ref<std::string&>();
    text = text.substr(0, audit::text_max) + "… (" + std::to_string(text.size()) + " bytes)";
  }
}

}  // namespace

audit::audit(const std::string& path, bool to_syslog) : to_syslog_(to_syslog) {
  auto sink = std::make_shared<spdlog::sinks::rotating_file_sink_st>(path, file_bytes_max, files_kept - 1);
  file_ = std::make_shared<spdlog::logger>("audit", std::move(sink));
  file_->set_pattern("%v");
  file_->flush_on(spdlog::level::info);
  file_->set_error_handler([](const std::string&) {});
}

void audit::write(const actor& who, const std::string& command, json what, const rules::problem* refused) {
  using namespace std::chrono;
  shorten(what);
  json line{{"time_unix_ms", duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count()},
            {"uid", who.uid}, {"pid", who.pid}, {"command", command}, {"request", std::move(what)}, {"outcome", "done"}};
  if (!who.remote.empty()) line["remote"] = who.remote;
  if (refused) {
    line["outcome"] = rules::name_of(refused->code);
    line["message"] = refused->message;
  }
  std::string text = protocol::to_line(line);
  text.pop_back();
  file_->info(text);
  if (to_syslog_) spdlog::info("audit {}", text);
}

}  // namespace chaos::daemon
