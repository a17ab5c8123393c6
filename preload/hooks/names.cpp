// Name resolution: delays and EAI errors, and the note of address → name that rules by name need.
#include <string.h>

#include "outcome.hpp"
#include "own.hpp"
#include "preload/core/prng.hpp"
#include "preload/runtime/names.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {
namespace {

// Sleeps what the rules ask for; no look-up ends early because a signal came. Counted is what was really added.
void serve_waits(decision& made) {
  std::int32_t interrupted = 0;
  while (!serve_pause(made, interrupted)) {}
  if (!made.verdict.delay_ns) return;
  shares held;
  add_shares(held, made.judged);
  const std::uint64_t from = made.verdict.pause_ns ? sys::now_ns() : made.now_ns;
  waited w;
  while ((w = hold_for(from, held)) == waited::interrupted) {}
  if (w == waited::due) return;
  let_go_early(made, core::delaying_effects, sys::now_ns() - from);
}

std::uint32_t mark_of(const char* host) { return static_cast<std::uint32_t>(core::fnv1a(host)) | 1; }

}  // namespace

// What the rules say of this look-up; true when it fails with `error`.
bool lookup_fails(abi::function_id self, const char* host, const void* caller, int& error) {
  if (inside() || !host || !*host || !(page->armed_classes.load(std::memory_order_relaxed) & abi::classes::dns)) return false;
  const rule_view* v = current_view();
  if (!v || !(v->classes & abi::classes::dns)) return false;
  const int before = errno;
  std::uint64_t mask[4];
  core::endpoint e;
  e.name = host;
  match_endpoint(*v, e, mask);
  decision made;
  decide({.function = self, .acts_as = abi::classes::dns, .now_ns = sys::now_ns()}, mask, nullptr, *v, caller, made);
  if (made.verdict.end == effects::ending::crash) {
    report_fired(made, host, 0, 0, caller);
    end_process(made);
  }
  serve_waits(made);
  report_fired(made, host, 0, 0, caller);
  errno = before;
  error = made.verdict.error;
  return made.verdict.end == effects::ending::error;
}

int as_h_errno(int eai) {
  switch (eai) {
    case EAI_AGAIN: return TRY_AGAIN;
    case EAI_NONAME: return HOST_NOT_FOUND;
    case EAI_NODATA: return NO_DATA;
    case EAI_MEMORY: errno = ENOMEM; return NETDB_INTERNAL;
    case EAI_SYSTEM: errno = EIO; return NETDB_INTERNAL;
    default: return NO_RECOVERY;
  }
}

void note_host(const char* host, const hostent& found) {
  if (found.h_addrtype != AF_INET && found.h_addrtype != AF_INET6) return;
  for (char** a = found.h_addr_list; a && *a; ++a) {
    sockaddr_in in{};
    sockaddr_in6 in6{};
    in.sin_family = AF_INET;
    in6.sin6_family = AF_INET6;
    if (found.h_addrtype == AF_INET) memcpy(&in.sin_addr, *a, sizeof in.sin_addr);
    else memcpy(&in6.sin6_addr, *a, sizeof in6.sin6_addr);
    note_name(host, found.h_addrtype == AF_INET ? reinterpret_cast<sockaddr*>(&in) : reinterpret_cast<sockaddr*>(&in6));
  }
}

bool goes_on_with(const char* host) {
  const std::uint32_t unfinished = this_thread.unfinished_lookup;
  this_thread.unfinished_lookup = 0;
  return unfinished && host && *host && unfinished == mark_of(host);
}

void did_not_fit(const char* host) {
  if (host && *host) this_thread.unfinished_lookup = mark_of(host);
}

address_text::address_text(const void* address, socklen_t n, int family) {
  std::uint8_t all[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (!address) return;
  if (family == AF_INET && n >= 4) memcpy(all + 12, address, 4);
  else if (family == AF_INET6 && n >= 16) memcpy(all, address, 16);
  else return;
  describe_address(all, 0, text, sizeof text);
  if (char* const end = strrchr(text, ':')) *end = 0;  // the port is none of it
  if (text[0] != '[') return;  // and an IPv6 address stands in brackets
  const std::size_t length = strlen(text) - 2;
  memmove(text, text + 1, length);
  text[length] = 0;
}

int own_getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** out) {
  int error = 0;
  if (lookup_fails(abi::function_id::getaddrinfo, host, __builtin_return_address(0), error)) {
    if (error == EAI_SYSTEM) errno = EIO;
    return error;
  }
  const int result = real.getaddrinfo(host, service, hints, out);
  if (result == 0 && host)
    for (const addrinfo* a = *out; a; a = a->ai_next) note_name(host, a->ai_addr);
  return result;
}

// The other way round: a rule means it by the address. Who asks for no more than the number asks nobody.
int own_getnameinfo(const sockaddr* from, socklen_t n, char* host, socklen_t host_room, char* service, socklen_t service_room, int flags) {
  std::uint8_t address[16];
  std::uint16_t port = 0;
  const bool asks = host && host_room && !(flags & NI_NUMERICHOST) && parse_address(from, n, address, port);
  if (asks) {
    const bool six = from->sa_family == AF_INET6;
    int error = 0;
    if (lookup_fails(abi::function_id::getnameinfo, address_text(six ? address : address + 12, six ? 16 : 4, from->sa_family).text,
                     __builtin_return_address(0), error)) {
      if (error == EAI_SYSTEM) errno = EIO;
      return error;
    }
  }
  return real.getnameinfo(from, n, host, host_room, service, service_room, flags);
}

}  // namespace chaos::hooks
