#include "processes.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace chaos::daemon {

namespace {

constexpr struct {
  std::uint32_t bit;
  const char* name;
} limit_names[] = {{abi::attach_limits::seccomp, "seccomp"},
                   {abi::attach_limits::own_allocator, "own_allocator"},
                   {abi::attach_limits::io_uring, "io_uring"}};

}  // namespace

std::uint64_t start_ticks_of(std::int32_t pid) {
  if (pid <= 0) return 0;
  char path[40], text[1024];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  const char* at = std::strrchr(text, ')');  // the name before it may hold anything, spaces and brackets too
  if (!at || at[1] == 0 || at[2] == 'Z' || at[2] == 'X') return 0;
  at += 2;
  for (int field = 3; field < 22 && at; ++field) at = std::strchr(at + 1, ' ');
  return at ? std::strtoull(at, nullptr, 10) : 0;
}

std::vector<attached_process> processes::living() const {
  std::vector<attached_process> all = report_.attached();
  const auto dead = [](const attached_process& p) { return start_ticks_of(p.pid) != p.start_ticks || p.start_ticks == 0; };
  all.erase(std::remove_if(all.begin(), all.end(), dead), all.end());
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.attached_ns < b.attached_ns; });
  return all;
}

bool processes::attached(std::int32_t pid) const {
  const auto all = report_.attached();
  const std::uint64_t ticks = start_ticks_of(pid);
  return std::any_of(all.begin(), all.end(), [&](const auto& p) { return p.pid == pid && p.start_ticks == ticks; });
}

void processes::reap(std::uint64_t now_ns) {
  for (const attached_process& p : report_.attached())
    if (start_ticks_of(p.pid) != p.start_ticks) report_.free_slot(p.slot, p.pid);
  const std::vector<unsigned> half = report_.half_filled();
  for (auto at = half_filled_since_.begin(); at != half_filled_since_.end();)
    at = std::find(half.begin(), half.end(), at->first) == half.end() ? half_filled_since_.erase(at) : std::next(at);
  for (const unsigned slot : half) {
    const auto [at, first] = half_filled_since_.emplace(slot, now_ns);
    if (!first && now_ns - at->second > half_filled_max_ns) report_.free_slot(slot, -1);
  }
}

nlohmann::json processes::describe(const attached_process& p) {
  const auto base = p.executable.rfind('/');
  nlohmann::json limits = nlohmann::json::array();
  for (const auto& l : limit_names)
    if (p.limits & l.bit) limits.push_back(l.name);
  nlohmann::json out{{"pid", p.pid}, {"name", p.comm.empty() ? p.executable.substr(base == std::string::npos ? 0 : base + 1) : p.comm},
                     {"executable", p.executable}, {"attached_ms", p.attached_ns / 1'000'000}, {"functions", p.functions},
                     {"limits", limits}, {"parent", p.parent}, {"ordinal", p.ordinal}, {"generation", p.generation}, {"stacks", !(p.limits & abi::attach_limits::no_stacks)}};
  if (p.run) out["run"] = p.run;
  return out;
}

}  // namespace chaos::daemon
