// A JSON file of chaosd that is replaced as a whole (temporary file, fsync, rename), so that a full disk or a power cut leaves
// the old one. One that can not be read is kept aside, never overwritten.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace chaos::daemon {

class whole_file {
 public:
  static constexpr std::size_t bytes_max = 16 * 1024 * 1024;
  static constexpr std::string_view unfinished = ".new";  // ends the name of what is being written, or was when chaosd was killed

  explicit whole_file(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }

  int replace(const nlohmann::json& content) const;  // 0, or the errno of what failed: the file is then as it was
  int replace_text(const std::string& content) const;

  // Hands the content to `read`, which says what is wrong with it ("": nothing) or throws. Where there is no file nothing
  // happens. Returns "", or what could not be read, why, and where it is kept: a sentence without its end.
  std::string load(const std::function<std::string(const nlohmann::json&)>& read) const;
  std::string load_text(const std::function<std::string(const std::string&)>& read) const;

 private:
  std::string path_;
};

template <class Number>
Number whole(const nlohmann::json& object, const char* key) {  // json::get would turn 1e300 or -1 into some number
  const nlohmann::json& n = object.at(key);
  const bool fits = n.is_number_unsigned() ? std::in_range<Number>(n.get<std::uint64_t>()) : n.is_number_integer() && std::in_range<Number>(n.get<std::int64_t>());
  if (!fits) throw std::range_error(std::string("\"") + key + "\" is no whole number that can stand there");
  return n.get<Number>();
}

}  // namespace chaos::daemon
