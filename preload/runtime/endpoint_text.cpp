#include "endpoint_text.hpp"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "chaos/abi/session.hpp"

namespace chaos {
namespace {
struct writer {
  char* out;
  std::size_t room, n = 0;
  void put(char c) { if (n + 1 < room) out[n++] = c; out[n] = 0; }
  void text(const char* s) { while (*s) put(*s++); }
  void number(unsigned long x) {
    char digits[21];
    int at = 20;
    digits[20] = 0;
    do { digits[--at] = static_cast<char>('0' + x % 10); x /= 10; } while (x);
    text(digits + at);
  }
  void hex(unsigned x) {
    bool any = false;
    for (int shift = 12; shift >= 0; shift -= 4) {
      const unsigned nibble = x >> shift & 15;
      if (nibble || any || shift == 0) { put("0123456789abcdef"[nibble]); any = true; }
    }
  }
};
}  // namespace

void path_of(const descriptor& d, int fd, char* out, std::size_t room) {
  out[0] = 0;
  if (d.kind == descriptor_kind::file) {
    abi::path_buffer link;
    link.add("/proc/self/fd/").add(static_cast<std::uint64_t>(fd));
    const long n = sys::read_link(link.text, out, room - 1);
    out[n > 0 ? n : 0] = 0;
    constexpr char deleted[] = " (deleted)";
    if (n > static_cast<long>(sizeof deleted) && strcmp(out + n - sizeof deleted + 1, deleted) == 0) out[n - sizeof deleted + 1] = 0;
    return;
  }
  sockaddr_un a{};
  for (const long call : {SYS_getpeername, SYS_getsockname}) {
    socklen_t n = sizeof a;
    if (sys::call(call, fd, &a, &n) != 0 || a.sun_family != AF_UNIX || n <= offsetof(sockaddr_un, sun_path)) continue;
    const std::size_t length = n - offsetof(sockaddr_un, sun_path);
    std::size_t from = 0, to = 0;
    if (a.sun_path[0] == 0) { out[to++] = '@'; from = 1; }
    for (; from < length && to + 1 < room && (a.sun_path[from] || out[0] == '@'); ++from) out[to++] = a.sun_path[from];
    out[to] = 0;
    if (to > 1 || out[0] == '/') return;
  }
}

bool parse_address(const sockaddr* a, socklen_t n, std::uint8_t (&address)[16], std::uint16_t& port) {
  memset(address, 0, 16);
  if (a && a->sa_family == AF_INET && n >= sizeof(sockaddr_in)) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(a);
    address[10] = address[11] = 0xff;
    memcpy(address + 12, &in->sin_addr, 4);
    port = __builtin_bswap16(in->sin_port);
    return true;
  }
  if (a && a->sa_family == AF_INET6 && n >= sizeof(sockaddr_in6)) {
    const auto* in = reinterpret_cast<const sockaddr_in6*>(a);
    memcpy(address, &in->sin6_addr, 16);
    port = __builtin_bswap16(in->sin6_port);
    return true;
  }
  return false;
}

void describe_address(const std::uint8_t (&a)[16], std::uint16_t port, char* out, std::size_t room) {
  writer w{out, room};
  static constexpr std::uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (memcmp(a, mapped, 12) == 0) {
    for (int i = 12; i < 16; ++i) { if (i > 12) w.put('.'); w.number(a[i]); }
  } else {  // the longest run of zero groups becomes "::"
    int best = -1, best_length = 1;
    for (int i = 0; i < 8; ++i) {
      int k = i;
      while (k < 8 && !a[2 * k] && !a[2 * k + 1]) ++k;
      if (k - i > best_length) { best = i; best_length = k - i; }
    }
    w.put('[');
    for (int i = 0; i < 8; ++i) {
      if (i == best) { w.text("::"); i += best_length - 1; continue; }
      if (i && i != best + best_length) w.put(':');
      w.hex(static_cast<unsigned>(a[2 * i]) << 8 | a[2 * i + 1]);
    }
    w.put(']');
  }
  w.put(':');
  w.number(port);
}

const char* describe(const descriptor& d, int fd, char* out, std::size_t room) {
  if (d.text[0]) return d.text;
  out[0] = 0;
  switch (d.kind) {
    case descriptor_kind::tcp: case descriptor_kind::udp:
      if (d.has_remote) describe_address(d.remote, d.remote_port, out, room);
      else { writer w{out, room}; w.text(d.listening ? "listen:" : "udp://*:"); w.number(d.local_port); }
      break;
    case descriptor_kind::unix_stream: case descriptor_kind::unix_datagram: {
      writer w{out, room};
      w.text("unix:");
      path_of(d, fd, out + w.n, room - w.n);
      break;
    }
    case descriptor_kind::file:
      if (d.path[0]) return d.path;
      path_of(d, fd, out, room);
      break;
    default: { writer w{out, room}; w.text("fd:"); w.number(static_cast<unsigned long>(fd)); }
  }
  return out;
}

}  // namespace chaos
