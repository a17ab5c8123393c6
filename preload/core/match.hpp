// Does a rule's target include this endpoint? Pure; text comes from the rule bank's pool and every offset is checked.
#pragma once
#include <cstdint>
#include <cstring>

#include "chaos/abi/rule_page.hpp"
#include "glob.hpp"

namespace chaos::core {

// What can be asked about the thing a call acts on. Unknown parts stay empty and match nothing that asks for them.
struct endpoint {
  bool has_remote = false;
  abi::transport over = abi::transport::any;
  std::uint8_t remote[16] = {};     // IPv4 as ::ffff:a.b.c.d
  std::uint16_t remote_port = 0;
  std::uint16_t listen_port = 0;    // accepted connections and listeners: the local port
  const char* unix_path = nullptr;  // abstract names begin with '@'
  const char* file_path = nullptr;
  const char* name = nullptr;       // being looked up
  const char* variable = nullptr;
  const char* http_path = nullptr;  // of the request at hand; nullptr: any could come
  int descriptor = -1;
  bool memory = false;
};

// Names under which the process looked an address up: asked only when a rule by name needs it.
using hostname_lookup = bool (*)(const std::uint8_t (&address)[16], const char* glob);

// chaosd ends the pool with NUL; a pool that has no end has no text.
inline const char* pool_text(const abi::rule_bank& bank, abi::pool_offset at) {
  return at && at < abi::text_pool_bytes && bank.text[abi::text_pool_bytes - 1] == '\0' ? bank.text + at : "";
}

inline bool in_prefix(const std::uint8_t (&address)[16], const std::uint8_t (&network)[16], unsigned bits) {
  if (bits > 128) return false;
  if (std::memcmp(address, network, bits / 8) != 0) return false;
  const unsigned rest = bits % 8;
  return rest == 0 || ((address[bits / 8] ^ network[bits / 8]) >> (8 - rest)) == 0;
}

inline bool term_matches(const abi::target_term& t, const abi::rule_bank& bank, const endpoint& e, hostname_lookup names) {
  const auto port_in = [&](std::uint16_t p) { return p >= t.port_low && p <= t.port_high; };
  if (t.over != abi::transport::any && e.over != t.over) return false;
  if (t.path && (e.http_path ? !glob_match(pool_text(bank, t.path), e.http_path) : t.exclude != 0)) return false;
  switch (t.kind) {
    case abi::term_kind::cidr: return e.has_remote && port_in(e.remote_port) && in_prefix(e.remote, t.address, t.prefix);
    case abi::term_kind::hostname:
      return e.has_remote && port_in(e.remote_port) && names && names(e.remote, pool_text(bank, t.text));
    case abi::term_kind::listen: return e.listen_port && port_in(e.listen_port);
    case abi::term_kind::unix_path:
      return e.unix_path && glob_match(pool_text(bank, t.text), e.unix_path, glob_mode::path);
    case abi::term_kind::file_path:
      return e.file_path && glob_match(pool_text(bank, t.text), e.file_path, glob_mode::path);
    case abi::term_kind::descriptor: return e.descriptor >= 0 && e.descriptor == t.port_low;
    case abi::term_kind::memory: return e.memory;
    case abi::term_kind::dns_name: return e.name && glob_match(pool_text(bank, t.text), e.name, glob_mode::hostname);
    case abi::term_kind::environment: return e.variable && glob_match(pool_text(bank, t.text), e.variable);
    case abi::term_kind::process:
    case abi::term_kind::everything: return true;
    case abi::term_kind::none: break;
  }
  return false;
}

// Any included term, and no excluded one. A rule whose terms are all exclusions means "everything but these".
inline bool target_matches(const abi::rule& r, const abi::rule_bank& bank, const endpoint& e, hostname_lookup names) {
  bool included = false, any_inclusion = false;
  const unsigned n = r.term_count < abi::term_max ? r.term_count : abi::term_max;
  for (unsigned i = 0; i < n; ++i) {
    const abi::target_term& t = r.terms[i];
    if (!t.exclude) any_inclusion = true;
    if (!t.exclude && included) continue;
    if (!term_matches(t, bank, e, names)) continue;
    if (t.exclude) return false;
    included = true;
  }
  return included || (n > 0 && !any_inclusion);
}

}  // namespace chaos::core
