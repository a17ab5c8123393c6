// state.json: what must outlive a crash of chaosd.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "control/rules/rule_spec.hpp"
#include "whole_file.hpp"

namespace chaos::daemon {

struct saved_rule {
  rules::rule_spec spec;
  std::uint32_t id = 0, slot = 0;
  std::uint64_t ends_at_ns = 0;    // CLOCK_MONOTONIC of `boot`; 0: never
  std::uint64_t remaining_ns = 0;  // when it was saved: what counts after another boot
  std::uint64_t run = 0;
  bool paused = false;
};

struct saved_run {
  std::uint64_t id = 0;
  std::int32_t pid = 0;
  std::uint64_t start_ticks = 0;
};

struct saved_state {
  std::string boot;
  std::uint32_t next_id = 1;
  std::uint64_t next_run = 1;
  std::optional<std::uint64_t> seed;
  bool clean = true;  // the daemon that wrote it ended by itself: nothing to bring back
  std::vector<saved_rule> rules;
  std::vector<saved_run> runs;
};

std::string boot_id();

class state_file {
 public:
  explicit state_file(std::string path) : file_(std::move(path)) {}

  rules::result<rules::done> save(const saved_state& state) const;

  // What was saved, or a fresh state. A file that can not be read is kept aside; `trouble` then says so.
  saved_state load(std::string& trouble) const;

 private:
  whole_file file_;
};

}  // namespace chaos::daemon
