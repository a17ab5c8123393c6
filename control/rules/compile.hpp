// rule_spec → abi::rule. The one place that knows what each kind needs and what makes no sense together.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "chaos/abi/rule_page.hpp"
#include "rule_spec.hpp"
#include "targets.hpp"

namespace chaos::rules {

using address_book = std::map<std::string, std::vector<ip_address>>;  // what hostnames stand for

inline constexpr std::uint64_t default_for_ns = 10 * 60'000'000'000ULL;

struct compile_setting {
  std::uint32_t id = 0;
  std::uint32_t slot = 0;
  std::uint64_t now_ns = 0;         // CLOCK_MONOTONIC
  std::uint64_t session_seed = 0;
  std::uint64_t default_for = default_for_ns;
  std::uint64_t run = 0;            // != 0: lives as long as its run, no default end
  const address_book* names = nullptr;
};

struct compiled_rule {
  abi::rule rule{};
  std::string text = std::string(1, '\0');  // its own pool; offsets in `rule` are into this until add_to_bank
  std::string name;
  std::string target;                 // normalised
  std::vector<std::string> hostnames; // to be resolved, and again from time to time
  std::uint32_t owner = 0;
  bool default_end = false;           // --for was not given: the caller says so
  std::vector<std::string> warnings;
};

result<compiled_rule> compile(const rule_spec& spec, const compile_setting& setting);

// What must be armed for the shim to carry the rule out: the rule's classes, and with address terms also close,
// descriptor, option and readiness (descriptors come and go, non-blocking ones are held back in waiting calls,
// redirected connects are asked about) and process (io_uring is refused), with file terms close and descriptor.
abi::class_set classes_to_arm(const abi::rule& rule);

std::uint64_t fnv1a64(const void* data, std::size_t n, std::uint64_t start = 0xcbf29ce484222325);

// A bank's content, put together from compiled rules and written as rule_page.hpp says.
struct bank_image {
  std::vector<abi::rule> rules;
  std::string text = std::string(1, '\0');
  abi::class_set armed = 0;  // paused rules arm nothing
  abi::class_set paused = 0; // what they would arm
  bool holds = false;        // some rule may black-hole connections that are to go on when it ends
};
result<bank_image> make_bank(const std::vector<const compiled_rule*>& rules);  // in this order
std::uint64_t checksum_of(const abi::rule* rules, std::uint32_t count, const char* text, std::uint32_t text_used);

}  // namespace chaos::rules
