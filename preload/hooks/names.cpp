// Name resolution: delays and EAI errors, and the note of address → name that rules by name need.
#include <string.h>

#include "own.hpp"
#include "preload/runtime/names.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {
namespace {

// What the rules say of this look-up; true when it fails with `error`. Sleeps the delay.
bool lookup_fails(abi::function_id self, const char* host, const void* caller, int& error) {
  if (inside() || !host || !(page->armed_classes.load(std::memory_order_relaxed) & abi::classes::dns)) return false;
  const rule_view* v = current_view();
  if (!v || !(v->classes & abi::classes::dns)) return false;
  const int before = errno;
  std::uint64_t mask[4];
  core::endpoint e;
  e.name = host;
  match_endpoint(*v, e, mask);
  decision made;
  decide({.function = self, .acts_as = abi::classes::dns, .now_ns = sys::now_ns()}, mask, nullptr, *v, caller, made);
  report_fired(made, host, 0, 0, caller);
  if (made.verdict.end == effects::ending::crash) end_process(made);
  serve_pause(made, error);
  if (made.verdict.delay_ns) hold_until(made.now_ns + made.verdict.delay_ns, made.judged.fired[0].rule->id);
  errno = before;
  error = made.verdict.error;
  return made.verdict.end == effects::ending::error;
}

}  // namespace

int own_getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** out) {
  int error = 0;
  if (lookup_fails(abi::function_id::getaddrinfo, host, __builtin_return_address(0), error)) return error;
  const int result = real.getaddrinfo(host, service, hints, out);
  if (result == 0 && host)
    for (const addrinfo* a = *out; a; a = a->ai_next) note_name(host, a->ai_addr);
  return result;
}

// The other way round: a rule means it by the address. Who asks for no more than the number asks nobody.
int own_getnameinfo(const sockaddr* from, socklen_t n, char* host, socklen_t host_room, char* service, socklen_t service_room, int flags) {
  char text[endpoint_text_max] = {};
  std::uint8_t address[16];
  std::uint16_t port = 0;
  const bool asks = host && host_room && !(flags & NI_NUMERICHOST) && parse_address(from, n, address, port);
  if (asks) {
    describe_address(address, port, text, sizeof text);
    char* end = strrchr(text, ':');  // the port is none of it, and an IPv6 address stands in brackets
    if (end) *end = 0;
    char* const bare = text[0] == '[' ? text + 1 : text;
    if (bare != text) text[strlen(text) - 1] = 0;
    int error = 0;
    if (lookup_fails(abi::function_id::getnameinfo, bare, __builtin_return_address(0), error)) return error;
  }
  return real.getnameinfo(from, n, host, host_room, service, service_room, flags);
}

hostent* own_gethostbyname(const char* host) {
  int error = 0;
  if (lookup_fails(abi::function_id::gethostbyname, host, __builtin_return_address(0), error)) {
    h_errno = error == EAI_AGAIN ? TRY_AGAIN : error == EAI_NONAME ? HOST_NOT_FOUND : NO_RECOVERY;
    return nullptr;
  }
  hostent* result = real.gethostbyname(host);
  for (char** a = result && result->h_addrtype == AF_INET ? result->h_addr_list : nullptr; a && *a; ++a) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    __builtin_memcpy(&in.sin_addr, *a, 4);
    note_name(host, reinterpret_cast<sockaddr*>(&in));
  }
  return result;
}

}  // namespace chaos::hooks
