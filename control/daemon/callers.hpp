// Return addresses in targets → "libhiredis.so.1+0x4a2f", from /proc/PID/maps. Bounded: a few processes are remembered,
// each map is read up to a limit and at most once a second, and what can not be told is the bare address.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace chaos::daemon {

class callers {
 public:
  std::string describe(std::int32_t pid, std::uint64_t address, std::uint64_t now_ns);

 private:
  struct segment {
    std::uint64_t begin, end, offset;
    std::string module;
  };
  struct process {
    std::int32_t pid;
    std::uint64_t read_ns;
    std::vector<segment> segments;
  };
  static constexpr std::size_t process_max = 32, segment_max = 4096, maps_bytes_max = 1024 * 1024;
  static constexpr std::uint64_t again_ns = 1'000'000'000;

  static void read_maps(process& p);
  std::deque<process> known_;
};

}  // namespace chaos::daemon
