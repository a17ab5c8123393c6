// The keys that a section may have (keys.def), and the reader of one section: unknown keys are answered with the nearest
// right one, every problem with its line.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/rules/problem.hpp"
#include "plan.hpp"

namespace chaos::experiment {

struct key_info {
  const char* section;
  const char* kinds;  // "" all of them
  const char* name;
  const char* otherwise;
  const char* meaning;
  bool of_kind(std::string_view kind) const;
  bool needed() const { return std::string_view(otherwise) == "needed"; }
};
std::span<const key_info> all_keys();
std::vector<std::string> key_names(std::string_view section, std::string_view kind);

struct section {
  std::string title;
  int line = 0;
  std::vector<std::pair<std::string, std::string>> keys;
  std::map<std::string, int> lines;  // of keys
  int line_of(const std::string& key) const;
  std::string value_of(std::string_view key) const;  // "" without one
  bool has(std::string_view key) const;
  std::string type() const;  // "probe" of [probe web]
  std::string name() const;  // "web"
};

using ini::on_line;

using value_reader = std::function<rules::result<rules::done>(const std::string&)>;

class section_reader {
 public:
  section_reader(const section& s, std::string kind) : section_(s), kind_(std::move(kind)) {}
  // `name` must be in keys.def.
  section_reader& on(std::string name, value_reader reader);
  rules::result<rules::done> read();

 private:
  const section& section_;
  const std::string kind_;
  std::map<std::string, value_reader> readers_;
};

value_reader text_into(std::string& into, const char* what);
value_reader escaped_into(std::string& into, const char* what);  // \r \n \t
value_reader duration_into(nanoseconds& into, const char* what, std::uint64_t least_ns, std::uint64_t most_ns);
value_reader count_into(std::uint64_t& into, const char* what, std::uint64_t most);

inline constexpr std::uint64_t ms = 1'000'000, hour = 3600 * 1000 * ms;

}  // namespace chaos::experiment
