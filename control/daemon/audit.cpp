#include "audit.hpp"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "control/protocol/message.hpp"

namespace chaos::daemon {

using nlohmann::json;

namespace {

void shorten(std::string& text) {
  if (text.size() > audit::text_max) text = text.substr(0, audit::text_max) + "… (" + std::to_string(text.size()) + " bytes)";
}

// Of a request that is meant to push the others out of the file only the beginning is kept: `left` bytes, and how much there was.
void shorten(json& value, std::size_t& left) {
  const auto spend = [&left](std::size_t bytes) { left -= std::min(left, bytes); };
  const auto rest = [&value](std::size_t kept) { return "… (" + std::to_string(value.size() - kept) + " more)"; };
  json out = value.is_array() ? json::array() : json::object();
  if (value.is_array()) {
    for (json& part : value) {
      if (left == 0) {
        out.push_back(rest(out.size()));
        break;
      }
      shorten(part, left);
      out.push_back(std::move(part));
    }
  } else if (value.is_object()) {
    for (auto& [key, part] : value.items()) {
      if (left == 0 || key.size() > audit::text_max) {
        out["…"] = rest(out.size());
        break;
      }
      spend(key.size());
      shorten(part, left);
      out[key] = std::move(part);
    }
  } else {
    if (value.is_string()) shorten(value.get_ref<std::string&>());
    return spend(value.is_string() ? value.get_ref<const std::string&>().size() + 2 : sizeof(std::uint64_t));
  }
  spend(2);
  value = std::move(out);
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
  std::size_t left = request_max;
  shorten(what, left);
  json line{{"time_unix_ms", duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count()},
            {"uid", who.uid}, {"pid", who.pid}, {"command", command}, {"request", std::move(what)}, {"outcome", "done"}};
  if (!who.remote.empty()) line["remote"] = who.remote;
  if (refused) {
    line["outcome"] = rules::name_of(refused->code);
    std::string message = refused->message;
    shorten(message);
    line["message"] = std::move(message);
  }
  std::string text = protocol::to_line(line);
  text.pop_back();
  file_->info(text);
  if (to_syslog_) spdlog::info("audit {}", text);
}

}  // namespace chaos::daemon
