#include "processes.hpp"

#include <dirent.h>
#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace chaos::experiment {

namespace {

std::string line_of(const std::string& path) {
  std::ifstream in(path);
  std::string text;
  std::getline(in, text);
  return text;
}

struct memory {
  double total = 0, available = 0;  // KiB
};

memory machine_memory() {
  memory m;
  std::ifstream in("/proc/meminfo");
  for (std::string key, unit; in >> key;) {
    double value = 0;
    in >> value;
    std::getline(in, unit);
    if (key == "MemTotal:") m.total = value;
    if (key == "MemAvailable:") m.available = value;
  }
  return m;
}

// Names of all processes, only read when a glob asks.
std::map<int, std::string> names_of_all() {
  std::map<int, std::string> names;
  DIR* const d = opendir("/proc");
  if (!d) return names;
  while (const dirent* const e = readdir(d)) {
    const int pid = std::atoi(e->d_name);
    if (pid > 0 && pid != getpid()) names[pid] = line_of("/proc/" + std::to_string(pid) + "/comm");
  }
  closedir(d);
  return names;
}

std::string file_name_of(int pid) {
  char path[4096];
  const ssize_t n = readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), path, sizeof path);
  const std::string text(path, n > 0 ? static_cast<std::size_t>(n) : 0);
  return text.substr(text.rfind('/') + 1);
}

}  // namespace

process_watch::process_watch(const plan& p) : plan_(p) {
  seen_.push_back({});
  for (const auto& process : p.processes) seen_.push_back({process.name, {}, {}});
  before_.resize(seen_.size());
  guarded_.resize(seen_.size());
}

bool process_watch::read(int pid, incarnation& into) {
  const std::string text = line_of("/proc/" + std::to_string(pid) + "/stat");
  const auto close = text.rfind(')');
  if (close == text.npos) return false;
  std::istringstream rest(text.substr(close + 2));
  std::string state;
  std::uint64_t user = 0, system = 0;
  rest >> state;
  for (int field = 4; field <= 24; ++field) {  // proc(5)
    std::string word;
    if (!(rest >> word)) return false;
    const std::uint64_t value = std::strtoull(word.c_str(), nullptr, 10);
    if (field == 14) user = value;
    if (field == 15) system = value;
    if (field == 22) into.start_ticks = value;
    if (field == 24) into.resident_pages = value;
  }
  into.cpu_ticks = user + system;
  return state != "Z" && state != "X";
}

process_watch::group process_watch::members(const process_plan& p, const std::map<int, std::string>& names) const {
  std::vector<int> pids;
  if (p.pid) pids.push_back(p.pid);
  else if (!p.pid_file.empty()) pids.push_back(std::atoi(line_of(p.pid_file).c_str()));
  else
    for (const auto& [pid, name] : names)
      if (fnmatch(p.glob.c_str(), name.c_str(), 0) == 0 || fnmatch(p.glob.c_str(), file_name_of(pid).c_str(), 0) == 0) pids.push_back(pid);
  group out;
  for (const int pid : pids)
    if (incarnation now; pid > 0 && read(pid, now)) out[pid] = now;
  return out;
}

void process_watch::look(std::int64_t now_ns) {
  const double cpus = static_cast<double>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN))), ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const double page_kib = static_cast<double>(sysconf(_SC_PAGESIZE)) / 1024;
  const memory all = machine_memory();
  const double seconds = before_ns_ < 0 ? 0 : static_cast<double>(now_ns - before_ns_) / 1e9;

  std::istringstream stat(line_of("/proc/stat").substr(5));
  std::uint64_t busy = 0, total = 0, value = 0;
  for (int i = 0; i < 8 && stat >> value; ++i) {
    total += value;
    if (i != 3 && i != 4) busy += value;  // idle, iowait
  }
  if (before_ns_ >= 0 && total > machine_all_ && all.total > 0)
    seen_[0].usages.push_back({now_ns, static_cast<double>(busy - machine_busy_) / static_cast<double>(total - machine_all_), 1 - all.available / all.total});
  machine_busy_ = busy, machine_all_ = total;

  const bool globs = std::ranges::any_of(plan_.processes, [](const process_plan& p) { return !p.glob.empty(); });
  const auto names = globs ? names_of_all() : std::map<int, std::string>();
  for (std::size_t i = 1; i < seen_.size(); ++i) {
    const auto now = members(plan_.processes[i - 1], names);
    double used = 0, resident = 0;
    for (const auto& [pid, p] : now) {
      const auto known = before_[i].find(pid);
      if (known != before_[i].end() && known->second.start_ticks == p.start_ticks) used += static_cast<double>(p.cpu_ticks - known->second.cpu_ticks) / ticks;
      resident += static_cast<double>(p.resident_pages) * page_kib;
    }
    if (seconds > 0 && all.total > 0 && !now.empty()) seen_[i].usages.push_back({now_ns, used / (seconds * cpus), resident / all.total});
    before_[i] = now;
  }
  for (std::size_t i = 0; i < seen_.size(); ++i)
    std::erase_if(guarded_[i], [&](const auto& one) {
      incarnation now;
      const bool lives = read(one.first, now) && now.start_ticks == one.second.start_ticks;
      if (!lives) seen_[i].ended.push_back({now_ns, one.first});
      return !lives;
    });
  before_ns_ = now_ns;
}

void process_watch::arm(const std::vector<int>& attached) {
  for (const int pid : attached)
    if (incarnation now; plan_.processes.empty() && read(pid, now)) guarded_[0][pid] = now;
  for (std::size_t i = 1; i < seen_.size(); ++i) guarded_[i] = before_[i];
}

std::uint64_t process_watch::crashes(const std::string& process) const {
  std::uint64_t n = 0;
  for (const auto& p : seen_)
    if (process.empty() || p.name == process) n += p.ended.size();
  return n;
}

usage process_watch::between(const process_outcome& p, std::int64_t from_ns, std::int64_t to_ns) {
  double cpu = 0, memory = nothing;
  std::size_t n = 0;
  for (const auto& u : p.usages) {
    if (u.at_ns < from_ns || u.at_ns > to_ns) continue;
    cpu += u.cpu;
    memory = std::isnan(memory) ? u.memory : std::max(memory, u.memory);
    ++n;
  }
  return {to_ns, n ? cpu / static_cast<double>(n) : nothing, memory};
}

}  // namespace chaos::experiment
