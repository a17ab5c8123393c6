#include "match.hpp"

#include <cstring>

namespace chaos::proc {

namespace {

bool in_prefix(const rules::ip_address& address, const std::uint8_t (&network)[16], unsigned bits) {
  if (bits > 128 || std::memcmp(address.data(), network, bits / 8) != 0) return false;
  const unsigned rest = bits % 8;
  return rest == 0 || ((address[bits / 8] ^ network[bits / 8]) >> (8 - rest)) == 0;
}

bool term_means(const abi::target_term& t, const tcp_row& row, int fd) {
  const auto port_in = [&t](std::uint16_t port) { return port >= t.port_low && port <= t.port_high; };
  if (t.over == abi::transport::datagram) return false;
  switch (t.kind) {
    case abi::term_kind::cidr: return port_in(row.remote_port) && in_prefix(row.remote, t.address, t.prefix);
    case abi::term_kind::listen: return port_in(row.local_port);
    case abi::term_kind::descriptor: return fd >= 0 && fd == t.port_low;
    case abi::term_kind::everything: return true;
    default: return false;  // hostname: what chaosd resolved stands beside it, as addresses
  }
}

}  // namespace

bool glob_match(const char* pattern, const char* text) {
  const char *star = nullptr, *star_text = nullptr;
  for (;;) {
    if (*pattern == '*') {
      star = ++pattern;
      star_text = text;
    } else if (*text && (*pattern == '?' || *pattern == *text)) {
      ++pattern;
      ++text;
    } else if (!*text && !*pattern) {
      return true;
    } else if (star && *star_text) {
      text = ++star_text;
      pattern = star;
    } else {
      return false;
    }
  }
}

bool breaks_live(const abi::rule& r) {
  const bool ends = (r.kind == abi::effect::down && r.how == abi::down_how::refuse) || r.kind == abi::effect::reset_peer;
  if (!ends || r.paused || r.dry_run) return false;
  if ((r.classes & abi::classes::streams) != abi::classes::streams || !r.functions.empty()) return false;
  if (r.chance < abi::certain || r.toxicity < abi::certain || r.when.first || r.when.pattern_length || r.times != UINT64_MAX) return false;
  if (r.space_bytes || r.after_bytes || r.size_low || r.size_high != UINT64_MAX) return false;
  if (r.thread_glob || r.caller_glob || r.stack_glob || (r.flags & abi::rule_flags::http)) return false;
  for (unsigned i = 0; i < r.term_count && i < abi::term_max; ++i)  // whom the target knows by that name, only the target knows
    if (r.terms[i].exclude && r.terms[i].kind == abi::term_kind::hostname) return false;
  return true;
}

bool named_like(const char* glob, const std::string& executable, const std::string& comm) {
  return glob_match(glob, executable.c_str()) || glob_match(glob, executable.c_str() + executable.rfind('/') + 1) || glob_match(glob, comm.c_str());
}

bool means_process(const rules::compiled_rule& compiled, const process_names& p) {
  const abi::rule& r = compiled.rule;
  if (r.run && r.run != p.run) return false;
  if (r.process_id && r.process_id != static_cast<std::uint32_t>(p.pid)) return false;
  if (!r.process_glob || r.process_glob >= compiled.text.size()) return true;
  const char* const glob = compiled.text.c_str() + r.process_glob;
  return named_like(glob, p.executable, p.comm);
}

bool means_connection(const abi::rule& r, const tcp_row& row, int fd) {
  bool included = false, any_inclusion = false;
  for (unsigned i = 0; i < r.term_count && i < abi::term_max; ++i) {
    const abi::target_term& t = r.terms[i];
    if (!t.exclude) any_inclusion = true;
    if (!term_means(t, row, fd)) continue;
    if (t.exclude) return false;
    included = true;
  }
  return included || (r.term_count > 0 && !any_inclusion);
}

}  // namespace chaos::proc
