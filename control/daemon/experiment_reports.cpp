#include "experiment_reports.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "whole_file.hpp"

namespace chaos::daemon {

namespace {

constexpr std::string_view prefix = "experiment-", ending = ".json";

// 0: no report's name.
std::uint64_t id_in(std::string_view name, std::string_view after) {
  if (!name.starts_with(prefix) || !name.ends_with(after)) return 0;
  std::uint64_t id = 0;
  const char* const last = name.data() + name.size() - after.size();
  const auto [end, error] = std::from_chars(name.data() + prefix.size(), last, id);
  return error == std::errc() && end == last ? id : 0;
}

bool is_object(const std::string& text) { return text.starts_with('{') && nlohmann::json::accept(text); }

}  // namespace

std::string experiment_reports::path_of(std::uint64_t id) const { return folder_ + "/" + std::string(prefix) + std::to_string(id) + std::string(ending); }

std::string experiment_reports::save(std::uint64_t id, const std::string& text) const {
  if (text.size() > bytes_max) return "it is larger than " + std::to_string(bytes_max) + " bytes";
  if (!is_object(text)) return "what its runner handed in is no JSON object";
  const int error = whole_file(path_of(id)).replace_text(text + "\n");
  return error == 0 ? "" : "it could not be written to " + path_of(id) + " (" + std::strerror(error) + ")";
}

std::string experiment_reports::load(std::uint64_t id, std::string& line) const {
  bool there = false;
  const std::string trouble = whole_file(path_of(id)).load_text([&](const std::string& text) {
    there = true;
    if (!is_object(text)) return "it is no JSON object";
    line = text;
    std::ranges::replace_if(line, [](char c) { return c == '\n' || c == '\r'; }, ' ');  // in JSON they stand between two words only
    return "";
  });
  return !trouble.empty() || there ? trouble : path_of(id) + " is gone";
}

std::set<std::uint64_t> experiment_reports::keep(const std::set<std::uint64_t>& ids) const {
  std::map<std::uint64_t, std::uintmax_t> sizes;  // oldest first
  std::uintmax_t together = 0;
  std::error_code ignored;
  const std::string half_written = std::string(ending) + std::string(whole_file::unfinished);
  for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored)) {
    const std::string name = entry.path().filename();
    const std::uint64_t id = id_in(name, ending);
    if (id && ids.contains(id)) {
      const std::uintmax_t size = entry.file_size(ignored);
      together += sizes[id] = ignored ? 0 : size;
    }
    if ((id && !ids.contains(id)) || id_in(name, half_written)) unlink(entry.path().c_str());
  }
  std::set<std::uint64_t> kept;
  for (const auto& [id, size] : sizes) {
    if (together > together_bytes_max) {
      unlink(path_of(id).c_str());
      together -= size;
    } else {
      kept.insert(id);
    }
  }
  return kept;
}

}  // namespace chaos::daemon
