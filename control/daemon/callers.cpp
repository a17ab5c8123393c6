#include "callers.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace chaos::daemon {

void callers::read_maps(process& p) {
  p.segments.clear();
  char path[40];
  std::snprintf(path, sizeof path, "/proc/%d/maps", p.pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  std::string text;
  char chunk[16384];
  ssize_t n = 0;
  while (text.size() < maps_bytes_max && (n = read(fd, chunk, sizeof chunk)) > 0) text.append(chunk, static_cast<std::size_t>(n));
  close(fd);
  for (std::size_t at = 0; at < text.size() && p.segments.size() < segment_max;) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    unsigned long long begin = 0, until = 0, offset = 0;
    char rights[5] = {};
    int name = 0;
    if (std::sscanf(line.c_str(), "%llx-%llx %4s %llx %*s %*s %n", &begin, &until, rights, &offset, &name) < 4) continue;
    if (rights[2] != 'x' || name <= 0 || static_cast<std::size_t>(name) >= line.size()) continue;
    const std::string file = line.substr(static_cast<std::size_t>(name));
    const auto slash = file.rfind('/');
    p.segments.push_back({begin, until, offset, slash == std::string::npos ? file : file.substr(slash + 1)});
  }
}

std::string callers::describe(std::int32_t pid, std::uint64_t address, std::uint64_t now_ns) {
  if (address == 0) return "";
  char text[32];
  auto at = std::find_if(known_.begin(), known_.end(), [pid](const process& p) { return p.pid == pid; });
  if (at == known_.end()) {
    if (known_.size() >= process_max) known_.pop_front();
    known_.push_back({pid, 0, {}});
    at = known_.end() - 1;
  }
  for (int attempt = 0; attempt < 2; ++attempt) {
    for (const segment& s : at->segments) {
      if (address < s.begin || address >= s.end) continue;
      std::snprintf(text, sizeof text, "+0x%llx", static_cast<unsigned long long>(address - s.begin + s.offset));
      return s.module + text;
    }
    if (at->read_ns != 0 && now_ns - at->read_ns < again_ns) break;
    at->read_ns = now_ns;
    read_maps(*at);
  }
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(address));
  return text;
}

}  // namespace chaos::daemon
