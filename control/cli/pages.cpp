#include "pages.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <set>
#include <sstream>

#include "chaos/abi/session.hpp"

namespace chaos::cli {

namespace {

using protocol::libc_sys;

std::uint64_t start_ticks(pid_t pid) {  // 0 also for a zombie
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(in, line);
  const auto behind_name = line.rfind(')');
  if (behind_name == std::string::npos) return 0;
  std::istringstream fields(line.substr(behind_name + 2));
  std::string skip;
  fields >> skip;
  if (skip == "Z" || skip == "X") return 0;
  for (int field = 4; field < 22; ++field) fields >> skip;
  std::uint64_t ticks = 0;
  fields >> ticks;
  return ticks;
}

// The attach slots as they are at this moment; empty when there is no page of our version.
struct slot_image {
  alignas(abi::attach_slot) unsigned char bytes[sizeof(abi::attach_slot)];
  template <class T>
  T at(std::size_t offset) const {
    T value;
    std::memcpy(&value, bytes + offset, sizeof value);
    return value;
  }
  std::string text(std::size_t offset, std::size_t room) const {
    const auto* s = reinterpret_cast<const char*>(bytes + offset);
    return std::string(s, strnlen(s, room));
  }
};

std::vector<slot_image> read_slots(const std::string& folder) {
  int fd = -1;
  const std::string path = folder + "/" + abi::report_page_name;
  if (abi::open_page<libc_sys, abi::report_page>(path.c_str(), abi::report_page_magic, false, fd) != abi::page_state::ready) return {};
  std::vector<slot_image> slots(abi::attach_max);
  const auto wanted = static_cast<ssize_t>(slots.size() * sizeof(slot_image));
  const bool good = pread(fd, slots.data(), slots.size() * sizeof(slot_image), offsetof(abi::report_page, attached)) == wanted;
  close(fd);
  if (!good) slots.clear();
  return slots;
}

std::set<std::string> folders_in(const std::string& path) {
  std::set<std::string> names;
  DIR* const d = opendir(path.c_str());
  if (!d) return names;
  for (int budget = 4096; const dirent* entry = budget-- > 0 ? readdir(d) : nullptr;)
    if (entry->d_name[0] != '.') names.insert(entry->d_name);
  closedir(d);
  return names;
}

}  // namespace

std::vector<attached_process> attached_in(const std::string& folder) {
  std::vector<attached_process> found;
  for (const auto& slot : read_slots(folder)) {
    const auto pid = slot.at<std::int32_t>(offsetof(abi::attach_slot, pid));
    if (pid <= 0) continue;
    const std::uint64_t ticks = start_ticks(pid);
    const auto noted = slot.at<std::uint64_t>(offsetof(abi::attach_slot, start_ticks));
    if (ticks == 0 || (noted != 0 && noted != ticks)) continue;  // gone, or another process by now
    found.push_back({pid, slot.at<std::uint64_t>(offsetof(abi::attach_slot, run)), slot.at<std::uint32_t>(offsetof(abi::attach_slot, limits)),
                     slot.text(offsetof(abi::attach_slot, comm), sizeof(abi::attach_slot::comm)),
                     slot.text(offsetof(abi::attach_slot, executable), sizeof(abi::attach_slot::executable))});
  }
  return found;
}

bool is_attached(const std::string& folder, pid_t pid) {
  const auto slots = read_slots(folder);
  return std::ranges::any_of(slots, [&](const slot_image& s) { return s.at<std::int32_t>(offsetof(abi::attach_slot, pid)) == pid; });
}

std::vector<other_session> sessions_elsewhere(const protocol::session_location& chosen) {
  std::set<std::string> bases{chosen.base};
  for (const auto& uid : folders_in("/run/user")) bases.insert("/run/user/" + uid + "/chaos");
  for (const auto& name : folders_in("/dev/shm"))
    if (name.starts_with("chaos-") && name.find_first_not_of("0123456789", 6) == std::string::npos) bases.insert("/dev/shm/" + name);
  std::vector<other_session> found;
  for (const auto& base : bases)
    for (const auto& session : folders_in(base)) {
      const std::string folder = base + "/" + session;
      if (folder == chosen.folder) continue;
      if (const auto n = attached_in(folder).size()) found.push_back({base, session, n});
    }
  return found;
}

std::string elsewhere_hint(const protocol::session_location& chosen) {
  if (!attached_in(chosen.folder).empty()) return {};
  const auto others = sessions_elsewhere(chosen);
  if (others.empty()) return {};
  std::string text = "no process is attached in session " + chosen.session + " of " + chosen.base;
  for (std::size_t i = 0; i < others.size() && i < 3; ++i) {
    const auto& o = others[i];
    text += "; session " + o.session + (o.base == chosen.base ? "" : " of " + o.base) + " has " + std::to_string(o.attached) + ": add " +
            (o.base == chosen.base ? "" : "--dir " + o.base + " ") + "--session " + o.session;
  }
  return text;
}

rule_page_facts look_at_rule_page(const std::string& folder) {
  rule_page_facts facts;
  int fd = -1;
  const std::string path = folder + "/" + abi::rule_page_name;
  const auto state = abi::open_page<libc_sys, abi::rule_page>(path.c_str(), abi::rule_page_magic, false, fd, &facts.found_version);
  facts.there = state != abi::page_state::missing;
  facts.usable = state == abi::page_state::ready;
  if (!facts.usable) return facts;
  const auto field = [&]<class T>(std::size_t offset, T) {
    T value{};
    return pread(fd, &value, sizeof value, static_cast<off_t>(offset)) == sizeof value ? value : T{};
  };
  facts.stopped = field(offsetof(abi::rule_page, stop), std::uint32_t{}) != 0;
  facts.armed_classes = field(offsetof(abi::rule_page, armed_classes), std::uint32_t{});
  facts.generation = field(offsetof(abi::rule_page, generation), std::uint32_t{});
  facts.daemon_pid = field(offsetof(abi::rule_page, daemon_pid), std::uint32_t{});
  const auto lease = field(offsetof(abi::rule_page, lease_until_ns), std::uint64_t{});
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  facts.lease_left_ns = static_cast<std::int64_t>(lease) - (static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec);
  close(fd);
  return facts;
}

stop_outcome stop_in_page(const std::string& folder) {
  int fd = -1;
  const std::string path = folder + "/" + abi::rule_page_name;
  switch (abi::open_page<libc_sys, abi::rule_page>(path.c_str(), abi::rule_page_magic, true, fd)) {
    case abi::page_state::ready: break;
    case abi::page_state::other_version: return stop_outcome::other_version;
    default: return access(path.c_str(), F_OK) == 0 ? stop_outcome::not_allowed : stop_outcome::no_page;
  }
  void* const at = mmap(nullptr, sizeof(abi::rule_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) return stop_outcome::not_allowed;
  auto* const page = static_cast<abi::rule_page*>(at);
  page->stop.store(1, std::memory_order_seq_cst);  // first: a daemon that arms now is overruled
  page->armed_classes.store(0, std::memory_order_seq_cst);
  syscall(SYS_futex, &page->generation, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  munmap(at, sizeof(abi::rule_page));
  return stop_outcome::stopped;
}

}  // namespace chaos::cli
