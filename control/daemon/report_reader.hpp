// The report page, read with pread: targets write it and may write anything, or truncate it. What can not be read is
// zero; nothing in it is used as an index or a length without being checked.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "chaos/abi/report_page.hpp"
#include "control/rules/problem.hpp"
#include "control/protocol/session_folder.hpp"

namespace chaos::daemon {

struct counter_values {
  std::uint32_t rule = 0;
#define RULE_COUNTER(name, unit, meaning) std::uint64_t name = 0;
#define SESSION_COUNTER(name, unit, meaning)
#include "chaos/abi/counters.def"
#undef RULE_COUNTER
#undef SESSION_COUNTER
};

struct session_values {
#define RULE_COUNTER(name, unit, meaning)
#define SESSION_COUNTER(name, unit, meaning) std::uint64_t name = 0;
#include "chaos/abi/counters.def"
#undef RULE_COUNTER
#undef SESSION_COUNTER
};

struct attached_process {
  unsigned slot = 0;
  std::int32_t pid = 0, parent = 0;
  std::uint32_t ordinal = 0, limits = 0, generation = 0, functions = 0;
  std::uint64_t start_ticks = 0, attached_ns = 0, run = 0;
  std::string comm, executable;
};

struct reported_breaker {
  unsigned slot = 0;
  std::int32_t pid = 0;
  std::uint32_t state = 0;
  std::uint64_t calls_ok = 0, calls_failed = 0, rejected = 0, changed_ns = 0;
  std::string name;
};

struct plain_ring_slot {  // ring_slot without atomics: a copy
  std::uint64_t sequence;
  abi::event entry;
};
static_assert(sizeof(plain_ring_slot) == sizeof(abi::ring_slot));

class report_reader {
 public:
  static rules::result<report_reader> open(const protocol::session_location& where);
  explicit report_reader(int fd) : fd_(fd) {}  // takes it
  report_reader(report_reader&& other) noexcept;
  report_reader(const report_reader&) = delete;
  ~report_reader();

  counter_values counters(unsigned slot) const;
  void give_out(unsigned slot, std::uint32_t rule) const;  // zeroes the counters and names their rule
  session_values session() const;

  std::vector<attached_process> attached() const;  // slots in use, of live and dead processes
  std::vector<unsigned> half_filled() const;       // slots that say "being filled"
  void free_slot(unsigned slot, std::int32_t pid_there) const;

  std::vector<reported_breaker> breakers() const;  // slots in use, of live and dead processes

  std::uint64_t ring_head() const;
  // Copies of the slots of tickets [first, first + count); count <= ring_slots. Fewer when the page ends early.
  std::vector<plain_ring_slot> ring(std::uint64_t first, std::uint64_t count) const;
  // The frames of the call stack of the event with this ticket; empty when it has none, or a later event's stands there by now.
  std::vector<std::string> stack(std::uint64_t ticket) const;

 private:
  bool read(void* into, std::size_t n, std::size_t at) const;
  int fd_ = -1;
};

}  // namespace chaos::daemon
