// What a rule is aimed at.
//
//   target  := term { "," term }
//   term    := [ "!" ] [ ( "tcp" | "udp" ) "://" ] subject                     "!" takes out what it matches
//            | [ "!" ] "http://" ( host [ ":" ports ] | "listen:" ports ) [ "/" path glob ]
//   subject := host [ ":" ports ] | "listen:" ports | "unix:" glob | "file:" glob | "fd:" number
//            | "malloc" | "dns:" glob | "env:" name | "process"
//   host    := "*" | name or glob of names | IPv4 [ "/" bits ] | "[" IPv6 [ "/" bits ] "]" | IPv6 [ "/" bits ]
//   ports   := number | number "-" number | "*"
//
// An IPv6 address that is followed by a port stands in brackets. `*` alone is every remote address. In file: globs
// `**` crosses '/', `*` and `?` do not; a path is absolute. In paths of http:// they all cross: `/api/*` is whatever begins
// with /api/. No prefix length stands there, where a path begins.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chaos/abi/rule.hpp"
#include "problem.hpp"

namespace chaos::rules {

using ip_address = std::array<std::uint8_t, 16>;  // IPv4 as ::ffff:a.b.c.d

struct term {
  abi::term_kind kind = abi::term_kind::none;
  abi::transport over = abi::transport::any;
  bool exclude = false;
  std::uint8_t prefix = 0;
  std::uint16_t port_low = 0, port_high = 65535;
  bool http = false;
  std::string text, path;
  ip_address address{};
};

// Terms of one rule are of one sort: it decides which classes the rule acts on.
enum class target_sort { address, http, file, address_or_file, memory, dns, environment, process };

struct target {
  std::vector<term> terms;
  target_sort sort = target_sort::address;
  bool hits_everything = false;  // nothing narrows it: --everything is needed
  std::string normalised;

  std::vector<std::string> hostnames() const;  // those that can be resolved: names without a glob
};

result<target> parse_target(std::string_view text);

const char* name_of(target_sort sort);     // "an address"
std::vector<std::string> target_examples(unsigned bits);  // one of each sort in abi::target_kinds
std::vector<std::string> target_beginnings(unsigned bits);  // what they begin with, as a shell completes them
// "[::1]:80" for "::1:80", which is an address as well; "" for everything that nobody would write for a port.
std::string with_port(std::string_view word);
unsigned target_bits(target_sort sort);    // abi::target_kinds

result<ip_address> parse_ip(std::string_view text, bool& is_v4);

}  // namespace chaos::rules
