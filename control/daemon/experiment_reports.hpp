// What experiments showed, for those who ask later: experiment-ID.json in the session folder, as its runner handed it in. Bounded
// one by one and together; the oldest make room. They stay text: taken apart they would be twenty times as large. A report belongs to an entry of the table of experiments and goes with it.
#pragma once
#include <cstdint>
#include <set>
#include <string>

namespace chaos::daemon {

class experiment_reports {
 public:
  static constexpr std::size_t bytes_max = 2 * 1024 * 1024, together_bytes_max = 16 * 1024 * 1024;

  explicit experiment_reports(std::string folder) : folder_(std::move(folder)) {}

  std::string save(std::uint64_t id, const std::string& text) const;        // "", or why it is not kept
  std::string load(std::uint64_t id, std::string& line) const;              // "", or why it can not be read; a JSON object without a newline
  std::set<std::uint64_t> keep(const std::set<std::uint64_t>& ids) const;  // removes those of others; returns whose there are

 private:
  std::string path_of(std::uint64_t id) const;

  std::string folder_;
};

}  // namespace chaos::daemon
