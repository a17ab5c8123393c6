// Events as lines of JSON: written to timeline.jsonl (rotated, bounded), kept for `events`, handed to watchers. Above
// `lines_a_second` a rule, further events of that second become one line {"aggregated":true,…,"count":N}: nothing goes
// uncounted.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "callers.hpp"
#include "causes.hpp"
#include "chaos/abi/event.hpp"
#include "rule_store.hpp"

namespace chaos::daemon {

class timeline {
 public:
  static constexpr std::uint64_t lines_a_second = 1000;
  static constexpr std::size_t file_bytes_max = 16 * 1024 * 1024;
  static constexpr unsigned files_kept = 4;  // timeline.jsonl and .1 to .3
  static constexpr std::size_t recent_max = 1024;
  static constexpr std::uint16_t no_function = 0xffff;  // what chaosd did itself: shown as "live", under the ticket of the latest event
  using listener = std::function<void(const std::string& line)>;

  timeline(std::string path, std::function<rule_names(std::uint32_t)> names, listener on_line);
  ~timeline();
  timeline(const timeline&) = delete;
  timeline& operator=(const timeline&) = delete;

  // `stack`: frames as text, the innermost first; empty: nobody asked for them.
  void take(std::uint64_t seq, const abi::event& e, std::uint64_t now_ns, std::span<const std::string> stack = {});
  void tick(std::uint64_t now_ns);          // ends seconds: aggregated lines come out
  void say(const std::string& line);        // a line of the daemon's own, with its newline
  void flush();                             // what is buffered goes to the file

  const std::deque<std::string>& recent() const { return recent_; }
  std::uint64_t unwritten() const { return unwritten_; }  // lines that the disk would not take
  std::size_t file_bytes() const { return file_bytes_; }  // a file that has so many is rotated

  // All files together take a quarter of the file system at most: in a container /dev/shm has 64 MiB, and the targets need theirs.
  static constexpr std::size_t file_bytes_of(std::uint64_t disk_bytes) {
    const std::uint64_t share = disk_bytes / 4 / files_kept;
    return disk_bytes == 0 || share > file_bytes_max ? file_bytes_max : static_cast<std::size_t>(share);
  }

  // The ticket after the last one in the file, 0 without one: where draining went on after a crash.
  static std::uint64_t next_ticket(const std::string& path);

 private:
  struct second {
    std::uint64_t began_ns = 0, lines = 0, held = 0, delay_ns = 0, last_seq = 0, last_ns = 0;
  };

  std::string format(std::uint64_t seq, const abi::event& e, std::uint64_t now_ns, const std::optional<cause>& after, std::span<const std::string> stack);
  void end_second(std::uint32_t rule, second& s);
  void open_file();
  void cut(std::size_t size);  // the file, to its last whole line
  void rotate();

  std::string path_;
  std::function<rule_names(std::uint32_t)> names_;
  listener on_line_;
  callers callers_;
  causes causes_;
  int fd_ = -1;
  std::size_t size_ = 0, file_bytes_ = file_bytes_max;
  std::string buffer_;
  std::deque<std::string> recent_;
  std::map<std::uint32_t, second> seconds_;
  std::uint64_t unwritten_ = 0;
};

}  // namespace chaos::daemon
