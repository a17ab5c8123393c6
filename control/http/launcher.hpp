// Starts chaos-ctl for those who ask over HTTP: an experiment or a schedule of the configured folders, a schedule that was sent,
// or pressure on memory. What it starts belongs to chaosd and ends with it.
#pragma once
#include <sys/types.h>

#include <set>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "control/rules/problem.hpp"
#include "front.hpp"

namespace chaos::http {

enum class file_kind { experiment, schedule };

class launcher {
 public:
  static constexpr std::size_t children_max = 16;

  explicit launcher(const front_settings& how) : how_(how) {}

  std::vector<std::string> files(file_kind kind) const;  // names of its folder's *.ini, without the ending, sorted
  // The path that a name stands for: a regular file of the folder itself, not a link out of it.
  rules::result<std::string> file_of(file_kind kind, const std::string& name) const;

  class child {
   public:
    child(pid_t pid, int said) : pid(pid), said_(said) {}
    child(child&& other) noexcept : pid(other.pid), said_(std::exchange(other.said_, -1)) {}
    ~child();
    std::string said() const;  // what it wrote to standard error, at most 4 KiB
    pid_t pid;

   private:
    friend class launcher;
    int said_;
  };
  rules::result<child> start(const std::vector<std::string>& words, const std::string& input = "");  // of chaos-ctl; what it reads
  bool runs(pid_t pid) const;
  void stop(pid_t pid);  // SIGTERM, if it still is ours

 private:
  const std::string& folder_of(file_kind kind) const { return kind == file_kind::experiment ? how_.experiments_folder : how_.schedules_folder; }

  const front_settings how_;
  mutable std::mutex mutex_;
  std::set<pid_t> children_;
};

}  // namespace chaos::http
