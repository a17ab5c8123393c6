#include "report_reader.hpp"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <utility>

namespace chaos::daemon {

using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

// offsetof in types with atomics is conditionally supported; these are standard layout.
#define OFFSET(member) offsetof(abi::report_page, member)

std::size_t lane_at(unsigned cpu, unsigned slot) {
  return OFFSET(lanes) + (cpu * abi::rule_max + slot) * sizeof(abi::rule_lane);
}

// CPUs that can have counted.
unsigned cpus() {
  static const unsigned n = std::min<unsigned>(abi::lane_max, static_cast<unsigned>(std::max(1, get_nprocs_conf())));
  return n;
}

std::string bounded(const char* text, std::size_t room) { return {text, strnlen(text, room)}; }

}  // namespace

result<report_reader> report_reader::open(const protocol::session_location& where) {
  const std::string path = where.file(abi::report_page_name);
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const auto created = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
  int fd = -1;
  std::uint32_t found = 0;
  switch (abi::make_page<protocol::libc_sys, abi::report_page>(path.c_str(), abi::report_page_magic, created, true, fd, &found)) {
    case abi::page_state::ready: return report_reader(fd);
    case abi::page_state::other_version:
      return problem{problem_code::version_mismatch, "the report page " + path + " is of version " + std::to_string(found) +
                         " or broken; this chaosd reads version " + std::to_string(abi::abi_version) +
                         ": end the targets of that session and remove its folder, or use another --session", path, {}};
    default:
      return problem{problem_code::failed, "can not make the report page " + path + ": " + std::strerror(errno), path, {}};
  }
}

report_reader::report_reader(report_reader&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
report_reader::~report_reader() {
  if (fd_ >= 0) close(fd_);
}

bool report_reader::read(void* into, std::size_t n, std::size_t at) const {
  const ssize_t got = pread(fd_, into, n, static_cast<off_t>(at));
  if (got == static_cast<ssize_t>(n)) return true;
  std::memset(into, 0, n);
  return false;
}

counter_values report_reader::counters(unsigned slot) const {
  counter_values out;
  if (slot >= abi::rule_max) return out;
  alignas(abi::rule_counters) unsigned char raw[sizeof(abi::rule_counters)];
  read(raw, sizeof raw, OFFSET(rules) + slot * sizeof(abi::rule_counters));
  std::memcpy(&out.rule, raw + offsetof(abi::rule_counters, rule), sizeof out.rule);
#define RULE_COUNTER(name, unit, meaning) std::memcpy(&out.name, raw + offsetof(abi::rule_counters, name), sizeof out.name);
#define SESSION_COUNTER(name, unit, meaning)
#include "chaos/abi/counters.def"
#undef RULE_COUNTER
#undef SESSION_COUNTER
  for (unsigned cpu = 0; cpu < cpus(); ++cpu) {
    std::uint64_t lane[2];
    static_assert(sizeof lane == sizeof(abi::rule_lane));
    read(lane, sizeof lane, lane_at(cpu, slot));
    out.matched += lane[0];
    out.bytes += lane[1];
  }
  return out;
}

void report_reader::give_out(unsigned slot, std::uint32_t rule) const {
  if (slot >= abi::rule_max) return;
  unsigned char raw[sizeof(abi::rule_counters)] = {};
  std::memcpy(raw + offsetof(abi::rule_counters, rule), &rule, sizeof rule);
  // past the end of a truncated page this would only make the file grow by a line
  if (protocol::libc_sys::size(fd_) != static_cast<long>(sizeof(abi::report_page))) return;
  if (pwrite(fd_, raw, sizeof raw, static_cast<off_t>(OFFSET(rules) + slot * sizeof raw)) < 0) return;
  for (unsigned cpu = 0; cpu < cpus(); ++cpu) {
    const unsigned char nothing[sizeof(abi::rule_lane)] = {};
    if (pwrite(fd_, nothing, sizeof nothing, static_cast<off_t>(lane_at(cpu, slot))) < 0) return;
  }
}

session_values report_reader::session() const {
  session_values out;
  alignas(abi::session_counters) unsigned char raw[sizeof(abi::session_counters)];
  read(raw, sizeof raw, OFFSET(session));
#define RULE_COUNTER(name, unit, meaning)
#define SESSION_COUNTER(name, unit, meaning) std::memcpy(&out.name, raw + offsetof(abi::session_counters, name), sizeof out.name);
#include "chaos/abi/counters.def"
#undef RULE_COUNTER
#undef SESSION_COUNTER
  return out;
}

namespace {

struct plain_attach_slot {  // attach_slot without atomics: a copy
  std::int32_t pid;
  std::uint32_t ordinal;
  std::uint64_t start_ticks, attached_ns, run;
  std::uint32_t limits, generation;
  std::int32_t parent;
  std::uint32_t functions;
  char comm[16], executable[128];
};
static_assert(sizeof(plain_attach_slot) == sizeof(abi::attach_slot));

}  // namespace

std::vector<attached_process> report_reader::attached() const {
  std::vector<plain_attach_slot> slots(abi::attach_max);
  read(slots.data(), slots.size() * sizeof slots[0], OFFSET(attached));
  std::vector<attached_process> out;
  for (unsigned i = 0; i < abi::attach_max; ++i) {
    const plain_attach_slot& s = slots[i];
    if (s.pid <= 0) continue;
    out.push_back({i, s.pid, s.parent, s.ordinal, s.limits, s.generation, s.functions, s.start_ticks, s.attached_ns, s.run,
                   bounded(s.comm, sizeof s.comm), bounded(s.executable, sizeof s.executable)});
  }
  return out;
}

std::vector<unsigned> report_reader::half_filled() const {
  std::vector<plain_attach_slot> slots(abi::attach_max);
  read(slots.data(), slots.size() * sizeof slots[0], OFFSET(attached));
  std::vector<unsigned> out;
  for (unsigned i = 0; i < abi::attach_max; ++i)
    if (slots[i].pid < 0) out.push_back(i);
  return out;
}

void report_reader::free_slot(unsigned slot, std::int32_t pid_there) const {
  if (slot >= abi::attach_max) return;
  const std::size_t at = OFFSET(attached) + slot * sizeof(abi::attach_slot) + offsetof(abi::attach_slot, pid);
  std::int32_t pid = 0;
  if (!read(&pid, sizeof pid, at) || pid != pid_there) return;
  pid = 0;
  if (pwrite(fd_, &pid, sizeof pid, static_cast<off_t>(at)) < 0) return;
}

namespace {

struct plain_breaker_slot {  // breaker_slot without atomics: a copy
  std::int32_t pid;
  std::uint32_t state;
  std::uint64_t calls_ok, calls_failed, rejected, changed_ns;
  char name[56];
};
static_assert(sizeof(plain_breaker_slot) == sizeof(abi::breaker_slot));

}  // namespace

std::vector<reported_breaker> report_reader::breakers() const {
  std::vector<plain_breaker_slot> slots(abi::report_page::breaker_max);
  read(slots.data(), slots.size() * sizeof slots[0], OFFSET(breakers));
  std::vector<reported_breaker> out;
  for (unsigned i = 0; i < slots.size(); ++i) {
    const plain_breaker_slot& s = slots[i];
    if (s.pid <= 0) continue;
    out.push_back({i, s.pid, s.state, s.calls_ok, s.calls_failed, s.rejected, s.changed_ns, bounded(s.name, sizeof s.name)});
  }
  return out;
}

std::uint64_t report_reader::ring_head() const {
  std::uint64_t head = 0;
  read(&head, sizeof head, OFFSET(ring_head));
  return head;
}

std::vector<plain_ring_slot> report_reader::ring(std::uint64_t first, std::uint64_t count) const {
  count = std::min<std::uint64_t>(count, abi::ring_slots);
  std::vector<plain_ring_slot> out(count);
  for (std::uint64_t done = 0; done < count;) {  // at most twice: up to the ring's end, and from its beginning
    const std::uint64_t slot = (first + done) % abi::ring_slots;
    const std::uint64_t run = std::min<std::uint64_t>(count - done, abi::ring_slots - slot);
    read(&out[done], run * sizeof out[0], OFFSET(ring) + slot * sizeof(abi::ring_slot));
    done += run;
  }
  return out;
}

namespace {

struct plain_stack_slot {  // stack_slot without atomics: a copy
  std::uint64_t sequence;
  std::uint32_t bytes, reserved;
  char text[sizeof abi::stack_slot::text];
};
static_assert(sizeof(plain_stack_slot) == sizeof(abi::stack_slot));

}  // namespace

std::vector<std::string> report_reader::stack(std::uint64_t ticket) const {
  const std::size_t at = OFFSET(stacks) + ticket % abi::stack_slots * sizeof(abi::stack_slot);
  const std::uint64_t done = 2 * ticket + 2;
  plain_stack_slot slot;
  std::uint64_t after = 0;
  read(&slot, sizeof slot, at);
  read(&after, sizeof after, at);  // whether it was written over meanwhile
  if (slot.sequence != done || after != done || slot.bytes > sizeof slot.text) return {};
  std::vector<std::string> out;
  for (std::size_t from = 0; from < slot.bytes && out.size() < abi::stack_frame_max; from += out.back().size() + 1)
    out.push_back(bounded(slot.text + from, slot.bytes - from));
  return out;
}

}  // namespace chaos::daemon
